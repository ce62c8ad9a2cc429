"""The seeded faults as data: nothing is named that is not there, and a fault differs by its patch alone."""

from __future__ import annotations

from pathlib import Path

from kmodpipe import kconfig, series
from kmodpipe.judge import cases
from kmodpipe.logs.kernel_log import Kind
from kmodpipe.series.diff import read_patch
from tests.faults import REPO, kernel
from tests.faults.kernel import HERE

FAULTS = kernel.load()
MATRIX = kconfig.load_matrix(REPO / "kconfigs" / "matrix.toml")


def test_each_has_a_patch_and_each_patch_is_used() -> None:
    told = [str(fault) for fault in FAULTS]
    assert len(set(told)) == len(told) >= 9
    assert {path.stem for path in HERE.glob("*.patch")} == {fault.name for fault in FAULTS}


def test_every_class_is_one_that_the_console_knows() -> None:
    assert {fault.observed for fault in FAULTS} - set(Kind) == {"died"}
    assert {fault.at for fault in FAULTS} == {"mount", "copy-up", "clean-up"}


def test_each_is_one_patch_on_a_shipped_series_within_its_module(tmp_path: Path) -> None:
    shipped = series.load(FAULTS[0].series, REPO / "patches")
    for fault in FAULTS:
        made = series.load(str(fault.make_series(tmp_path)), REPO / "patches")
        assert made.name == fault.name
        assert [p.name for p in made.patches] == [*(p.name for p in shipped.patches), fault.patch.name]
        patch = read_patch(fault.patch.name, fault.patch, fault.patch.read_bytes(), where="")
        assert all(name.startswith(f"{shipped.module}/") for name in patch.touched)


def test_every_debug_kernel_has_faults_to_catch() -> None:
    assert {fault.flavour for fault in FAULTS} == {
        "plain",
        "lockdep",
        "kasan",
        "kcsan",
        "kmemleak",
        "faultinject",
    }


def test_each_names_a_cell_of_the_matrix() -> None:
    flavours = kconfig.flavours_of(MATRIX, ["all"])
    variants = [kconfig.Variant(fault.name, "", {}) for fault in FAULTS]
    known = {cell.id for cell in kconfig.expand(MATRIX, variants, flavours)}
    assert {fault.cell_id() for fault in FAULTS} <= known


def test_the_cases_are_scripts_of_these_names() -> None:
    assert tuple(cases.from_script(HERE / f"{name}.sh").id for name in kernel.CASES) == kernel.CASES
