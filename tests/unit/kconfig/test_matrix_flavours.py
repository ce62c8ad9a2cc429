"""Flavours of the matrix: what they ask for, and which cells they give."""

from __future__ import annotations

from pathlib import Path

import pytest

from kmodpipe import kconfig
from kmodpipe.kconfig import Matrix, SymbolRequest
from kmodpipe.util.errors import UserError
from kmodpipe.vm.limits import TimeScale
from tests.support.sample_matrix import CONTROL, flavoured


@pytest.fixture
def matrix(tmp_path: Path) -> Matrix:
    return flavoured(tmp_path)


def test_a_flavour_asks_for_more_over_what_all_ask_for_and_below_the_axes(matrix: Matrix) -> None:
    plain, *_, flavoured = kconfig.expand(matrix, [CONTROL], kconfig.flavours_of(matrix, ["plain", "xfs"]))
    assert (plain.id, flavoured.id) == ("unpatched.INDEX=y", "unpatched.INDEX=n.xfs")
    assert plain.requested["QUOTA"].value == "n" and "XFS_FS" not in plain.requested
    assert flavoured.requested["QUOTA"] == SymbolRequest("QUOTA", "y", "xfs.config:2")
    assert flavoured.requested["XFS_FS"] == SymbolRequest("XFS_FS", "y", "more.config:1")
    assert flavoured.requested["FS_INDEX"].value == "n"
    assert {a.symbol for a in flavoured.own_requests} == {"XFS_FS", "QUOTA", "FS_INDEX"}
    assert {a.symbol for a in plain.own_requests} == {"FS_INDEX"}


def test_a_flavour_can_be_larger_and_slower(matrix: Matrix) -> None:
    text = matrix.path.read_text()
    matrix.path.write_text(
        f'{text}memory_mib = 512\nslow = 4\ncpus = 2\nbase_make = {{ KCSAN_SANITIZE = "n" }}\n'
    )
    plain, kasan = kconfig.flavours_of(kconfig.load_matrix(matrix.path), ["plain", "kasan"])
    assert (plain.memory_mib, plain.slow) == (256, 1)
    assert (kasan.memory_mib, kasan.slow) == (512, 4)
    assert TimeScale(kasan.slow).format(10) == "10 s (×4 for the flavour: 40 s)"
    assert (plain.cpus, kasan.cpus) == (1, 2)
    assert (plain.base_make, kasan.base_make) == ({}, {"KCSAN_SANITIZE": "n"})
    # Nothing makes a guest faster than the deadlines are for.
    for wrong in (
        'cmdline = "a -- b"',
        'cmdline = "a\\nb"',
        "slow = 0.5",
        "memory_mib = 8",
        "cpus = 0",
        'base_make = { "a b" = "n" }',
    ):
        matrix.path.write_text(f"{text}{wrong}\n")
        with pytest.raises(UserError, match="not valid"):
            kconfig.load_matrix(matrix.path)
