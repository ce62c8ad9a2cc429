"""Which cells of the matrix a run is about."""

from __future__ import annotations

from pathlib import Path

import pytest

from kmodpipe.kconfig import Matrix
from kmodpipe.pipeline.cell_choice import choose_cells
from kmodpipe.util.errors import UserError
from tests.support.sample_matrix import CONTROL, flavoured


@pytest.fixture
def matrix(tmp_path: Path) -> Matrix:
    return flavoured(tmp_path)


def chosen(matrix: Matrix, cells: tuple[str, ...] = (), flavours: tuple[str, ...] = ()) -> list[str]:
    return [cell.id for cell in choose_cells(matrix, [CONTROL], flavours, cells).cells]


def test_only_the_flavours_that_are_named_are_run(matrix: Matrix) -> None:
    plain = ["unpatched.INDEX=y", "unpatched.INDEX=n"]
    xfs, kasan = [f"{c}.xfs" for c in plain], [f"{c}.kasan" for c in plain]
    assert chosen(matrix) == plain == chosen(matrix, flavours=("plain",))
    assert chosen(matrix, flavours=("xfs",)) == xfs
    # In the matrix's order, whatever the user's.
    assert chosen(matrix, flavours=("kasan", "plain")) == [*plain, *kasan]
    assert (
        chosen(matrix, flavours=("all",)) == [*plain, *xfs, *kasan] == chosen(matrix, flavours=("all", "xfs"))
    )
    with pytest.raises(UserError, match="unknown flavour 'xsf'; did you mean xfs"):
        chosen(matrix, flavours=("xsf",))


def test_a_cell_of_a_flavour_is_named_by_its_id_alone(matrix: Matrix) -> None:
    assert chosen(matrix, ("unpatched.INDEX=y.xfs",)) == ["unpatched.INDEX=y.xfs"]
    assert chosen(matrix, ("*.xfs",)) == ["unpatched.INDEX=y.xfs", "unpatched.INDEX=n.xfs"]
    # What fits plain cells means those.
    assert chosen(matrix, ("unpatched.*",)) == ["unpatched.INDEX=y", "unpatched.INDEX=n"]
    assert chosen(matrix, ("*INDEX=y*",), ("xfs", "kasan")) == [
        "unpatched.INDEX=y.xfs",
        "unpatched.INDEX=y.kasan",
    ]
    with pytest.raises(UserError, match="unknown cell"):
        chosen(matrix, ("unpatched.INDEX=y",), ("xfs",))
