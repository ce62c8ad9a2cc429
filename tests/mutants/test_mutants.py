"""The mutants as data: nothing is named that is not there, and a mutant differs by its mistake alone."""

from __future__ import annotations

from pathlib import Path

from kmodpipe import series
from kmodpipe.judge import cases
from kmodpipe.series.diff import read_patch
from tests import mutants
from tests.mutants import HERE, REPO

MUTANTS = mutants.load()


def test_each_has_a_patch_and_each_patch_is_used() -> None:
    names = [mutant.name for mutant in MUTANTS]
    assert len(set(names)) == len(names) >= 10
    assert {path.stem for path in HERE.glob("*.patch")} == set(names)


def test_each_is_one_patch_on_a_shipped_series_within_its_module(tmp_path: Path) -> None:
    shipped = {name: series.load(name, REPO / "patches") for name in {mutant.series for mutant in MUTANTS}}
    for mutant in MUTANTS:
        patch = read_patch(mutant.patch.name, mutant.patch, mutant.patch.read_bytes(), where="")
        assert all(name.startswith(f"{shipped[mutant.series].module}/") for name in patch.touched)
    for name, original in shipped.items():
        mutant = next(mutant for mutant in MUTANTS if mutant.series == name)
        made = series.load(str(mutant.make_series(tmp_path)), REPO / "patches")
        assert (made.name, made.design, made.axes) == (mutant.name, original.design, original.axes)
        assert [p.sha256 for p in made.patches[:-1]] == [p.sha256 for p in original.patches]
        assert made.patches[-1].name == mutant.patch.name


def test_the_cases_that_must_catch_them_exist() -> None:
    known = {case.id for case in cases.load(REPO / "images" / "guest" / "cases")}
    assert set(mutants.named_cases(MUTANTS)) <= known
