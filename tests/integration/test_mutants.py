"""Deliberate mistakes in the shipped series: each is caught by the case that is there for it."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from kmodpipe.results import State, Verdict
from tests import mutants
from tests.integration.conftest import require_machinery, show
from tests.mutants import Mutant, Ran

pytestmark = [pytest.mark.integration, pytest.mark.thorough, pytest.mark.timeout(2400)]

# Each costs a module and a boot: $KMODPIPE_TEST_MUTANTS names a sample (``nouuid-shown-as-on,…``).
_SAMPLE = frozenset(filter(None, os.environ.get("KMODPIPE_TEST_MUTANTS", "").split(",")))
MUTANTS = tuple(mutant for mutant in mutants.load() if not _SAMPLE or mutant.name in _SAMPLE)


@pytest.fixture(scope="module", autouse=True)
def machinery() -> None:
    require_machinery()


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Ran]:
    """One run of all mutants; which case caught which is printed at the end."""
    done = mutants.run_mutants(MUTANTS, tmp_path_factory.mktemp("mutants"))
    assert done.code == 1, done.said
    yield done
    show(request, mutants.table(MUTANTS, done))


@pytest.mark.parametrize("mutant", MUTANTS, ids=[mutant.name for mutant in MUTANTS])
def test_the_mistake_is_caught(ran: Ran, mutant: Mutant) -> None:
    assert mutants.problems(mutant, ran) == []


def test_without_the_mistakes_the_same_cases_pass(tmp_path_factory: pytest.TempPathFactory) -> None:
    sound = mutants.run_sound(MUTANTS, tmp_path_factory.mktemp("sound"))
    assert sound.code == 0, sound.said
    assert {cell.state for cell in sound.run.cells} == {State.RAN}
    cells = {cell.cell: cell for cell in sound.run.cells}
    for mutant in MUTANTS:
        cell = cells[mutant.cell_ids(mutant.series)[0]]
        verdicts = {case.case: case.verdict for case in cell.cases}
        assert {catch.case: verdicts[catch.case] for catch in mutant.caught} == {
            catch.case: Verdict.PASS for catch in mutant.caught
        }
