"""Injected faults: a seeded kernel fault is caught, named, and charged to the one case that reached it; what
breaks elsewhere is told with the right exit code, loses no result and leaves nothing behind."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from _pytest.mark import ParameterSet

from kmodpipe.kconfig.matrix import PLAIN
from kmodpipe.logs import kernel_log
from kmodpipe.results import State, Verdict
from tests import faults
from tests.faults import Injection, kernel
from tests.faults.groups import INJECTIONS
from tests.faults.kernel import Fault
from tests.integration.conftest import require, require_machinery, show
from tests.mutants import Ran
from tests.support import flavours

pytestmark = [pytest.mark.integration, pytest.mark.timeout(3600)]

FAULTS = tuple(fault for fault in kernel.load() if flavours.is_built(fault.flavour))
# Injected by default, one of a kind. The others are thorough, and so is what takes an engine of its own or
# all of the machine.
SAMPLE = {
    "hostile/archive-links",
    "hostile/patch-links",
    "hostile/tree-files",
    "way/cache-bytes",
    "way/download-cut",
    "way/full-out",
    "way/two-runs",
    "way/umask",
}


@pytest.fixture(scope="module", autouse=True)
def machinery() -> None:
    require_machinery()


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Ran]:
    """One run of all faults; what was reported of each is printed at the end."""
    done = kernel.run_faults(FAULTS, tmp_path_factory.mktemp("faults"))
    assert done.code == 1, done.said
    yield done
    show(request, faults.table(kernel.rows(FAULTS, done)))


def test_a_fault_of_the_plain_kernel_is_caught_and_charged(tmp_path: Path) -> None:
    fault = next(fault for fault in FAULTS if str(fault) == "null-dereference.plain")
    assert kernel.problems(fault, kernel.run_faults([fault], tmp_path)) == []


@pytest.mark.thorough
@pytest.mark.parametrize("fault", FAULTS, ids=map(str, FAULTS))
def test_the_fault_is_caught_and_charged(ran: Ran, fault: Fault) -> None:
    assert kernel.problems(fault, ran) == []


@pytest.mark.thorough
def test_without_the_faults_no_flavour_reports_anything(tmp_path_factory: pytest.TempPathFactory) -> None:
    sound = kernel.run_sound(FAULTS, tmp_path_factory.mktemp("sound"))
    assert sound.code == 0, sound.said
    assert {cell.flavour or PLAIN for cell in sound.run.cells} == {fault.flavour for fault in FAULTS}
    for cell in sound.run.cells:
        assert cell.state is State.RAN
        # The cases of this flavour alone come in guests of their own.
        own = [fault.by for fault in FAULTS if fault.flavour == cell.flavour and fault.by not in kernel.CASES]
        assert {c.case for c in cell.cases if c.verdict is Verdict.PASS} == {*own, *kernel.CASES}
        assert cell.properties["boots"] == str(1 + len(own))
        logs = sorted((sound.latest / cell.cell).glob("console*.log"))
        assert [kernel_log.parse_file(log) for log in logs] == [()] * len(logs)


def _param(injection: Injection) -> ParameterSet:
    """With several workers, what uses an engine of our own goes to one of them: each would start another."""
    group = "engine" if injection.inject.__module__.endswith(".engines") else str(injection)
    marks = [pytest.mark.xdist_group(group)]
    if str(injection) not in SAMPLE:
        marks.append(pytest.mark.thorough)
    return pytest.param(injection, id=str(injection), marks=marks)


@pytest.mark.parametrize("injection", [_param(one) for one in INJECTIONS])
def test_the_fault_is_told_and_loses_nothing(injection: Injection, tmp_path: Path) -> None:
    require(os.getuid() == 0 or not injection.as_root, "it mounts file systems, which takes root")
    row = faults.run(injection, tmp_path / "scene")
    assert row.outcome.problems == (), row
