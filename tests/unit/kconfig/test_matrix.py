"""The matrix: its file, and the cells that it gives."""

from __future__ import annotations

from pathlib import Path

import pytest

from kmodpipe import kconfig
from kmodpipe.kconfig import SymbolRequest, Variant
from kmodpipe.util.errors import UserError
from tests.support import REPO
from tests.support.sample_matrix import CONTROL, PATCHED


def test_cells_have_stable_ids_in_a_stable_order_variant_by_variant(matrix: kconfig.Matrix) -> None:
    cells = kconfig.expand(matrix, [CONTROL, PATCHED])
    choices = ["INDEX=y.NOUUID=n", "INDEX=y.NOUUID=y", "INDEX=n.NOUUID=n", "INDEX=n.NOUUID=y"]
    assert [c.id for c in cells] == [f"{v}.{c}" for v in ("unpatched", "index-nouuid") for c in choices]
    last = cells[-1]
    assert last.choice == {"INDEX": "n", "NOUUID": "y"}
    # The axis wins over the fragment, and says so.
    assert last.requested["OVERLAY_FS_INDEX"] == SymbolRequest("OVERLAY_FS_INDEX", "n", "axis INDEX=n")
    assert last.requested["OVERLAY_FS"] == SymbolRequest("OVERLAY_FS", "m", "overlay.config:1")
    assert (cells[0].variant.is_control, last.variant.is_control) == (True, False)


def test_a_series_may_spell_an_axis_its_own_way(matrix: kconfig.Matrix) -> None:
    v1 = Variant("v1", "index-nouuid", {"NOUUID": "OVERLAY_FS_NOUUID"})
    cell = kconfig.expand(matrix, [v1])[1]
    assert cell.id == "v1.INDEX=y.NOUUID=y"
    assert cell.axes["NOUUID"].symbol == "OVERLAY_FS_NOUUID"
    assert cell.requested["OVERLAY_FS_NOUUID"].value == "y"
    assert "OVERLAY_FS_INDEX_NOUUID" not in cell.requested


def test_a_matrix_without_axes_is_one_cell_a_variant(tmp_path: Path) -> None:
    (tmp_path / "m.toml").write_text("")
    matrix = kconfig.load_matrix(tmp_path / "m.toml")
    assert matrix.base == "tinyconfig"
    assert [c.id for c in kconfig.expand(matrix, [CONTROL])] == ["unpatched"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("axes = [", "not TOML"),
        ("bases = 1", "bases: "),
        ('base = "rm -rf"', "base: "),
        ('module = "/etc"', "module: "),
        ("[axes.INDEX]\nvalues = ['y']", "axes.INDEX.symbol: "),
        ("[axes.INDEX]\nsymbol = 'A B'", "axes.INDEX.symbol: "),
        ("[axes.INDEX]\nsymbol = 'A'\nvalues = []", "axes.INDEX.values: "),
        ("[axes.INDEX]\nsymbol = 'A'\nvalues = ['y', 'y']", "axes.INDEX.values: "),
        ("[axes.INDEX]\nsymbol = 'A'\nvalue = ['y']", "axes.INDEX.value: "),
        ("[axes.index]\nsymbol = 'A'", "'index' is not"),
        ("fragments = ['gone.config']", "gone.config does not exist"),
        ("fragments = ['.']", "not the name of a fragment: '.'"),
        ("fragments = ['../x']", "not the name of a fragment: '../x'"),
        ("[axes.A]\nsymbol = 'X'\n[axes.B]\nsymbol = 'CONFIG_X'", "X is on two axes, A and B"),
        ("[flavours.plain]\nsummary = 'what?'", "'plain' cannot be a flavour's name"),
        ("[flavours.all]\nsummary = 'what?'", "'all' cannot be a flavour's name"),
        ("[flavours.'a.b']\nsummary = 'what?'", "'a.b' cannot be a flavour's name"),
        ("[flavours.xfs]", "flavours.xfs.summary: "),
        ("[flavours.xfs]\nsummary = 'xfs'\nfragment = ['a']", "flavours.xfs.fragment: "),
        ("[flavours.xfs]\nsummary = 'xfs'\nfragments = ['gone.config']", "gone.config does not exist"),
        ("[flavours.xfs]\nsummary = 'xfs'\nenv = { fs = 'xfs' }", "flavours.xfs.env: "),
        ("[flavours.xfs]\nsummary = 'xfs'\nenv = { FS = '' }", "FS is empty"),
        ("[flavours.xfs]\nsummary = 'xfs'\ntools = ['../xfs']", "flavours.xfs.tools: "),
    ],
)
def test_a_bad_matrix_names_file_and_field(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "m.toml"
    path.write_text(text)
    with pytest.raises(UserError) as caught:
        kconfig.load_matrix(path)
    assert told in str(caught.value)
    assert caught.value.where.partition(":")[0] == str(path)


def test_a_bad_fragment_is_named_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "f.config").write_text("CONFIG_A=y\nnonsense\n")
    (tmp_path / "m.toml").write_text("fragments = ['f.config']")
    with pytest.raises(UserError) as caught:
        kconfig.load_matrix(tmp_path / "m.toml")
    assert caught.value.where == "f.config:2"


def test_a_matrix_that_cannot_be_read_is_a_user_error_too(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    for path in (tmp_path / "gone.toml", tmp_path, tmp_path / "binary"):
        with pytest.raises(UserError) as caught:
            kconfig.load_matrix(path)
        assert caught.value.where.partition(":")[0] == str(path)


def test_the_projects_own_matrix_loads() -> None:
    matrix = kconfig.load_matrix(REPO / "kconfigs" / "matrix.toml")
    assert {axis.symbol for axis in matrix.axes.values()} == {"OVERLAY_FS_INDEX", "OVERLAY_FS_INDEX_NOUUID"}
    assert {a.symbol: a.value for a in matrix.common}["OVERLAY_FS"] == "m"
    for name in ("xfs", "btrfs"):
        flavour = matrix.flavours[name]
        assert {a.symbol: a.value for a in flavour.requested}[f"{name.upper()}_FS"] == "y"
        assert (flavour.env, flavour.tools) == ({"KMODPIPE_FS": name}, (name,))
