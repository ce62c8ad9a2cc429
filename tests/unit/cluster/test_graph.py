"""The tasks of a plan."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kmodpipe.ci.job_plan import Plan, PlannedCell, PlannedJob
from kmodpipe.cluster import facts, graph
from kmodpipe.cluster.graph import Settings

SETTINGS = Settings("run-1", "b" * 64, "p" * 64, "kmodpipe-p")


def plan(*cells: tuple[str, str, str]) -> Plan:
    """A plan of cells: id, kernel, flavour."""
    made = tuple(PlannedCell(i, "s", "d", {}, {}, flavour, kernel) for i, kernel, flavour in cells)
    jobs = tuple(
        PlannedJob(f"{n:02}", (cell.cell,), ("--series", "s", "--no-control", "--cell", cell.cell))
        for n, cell in enumerate(made)
    )
    return Plan(made, (), jobs)


def test_cells_wait_for_the_base_of_their_kernel_and_flavour() -> None:
    made = graph.tasks(
        plan(("a", "k1", ""), ("b", "k1", ""), ("c", "k2", ""), ("d", "k1", "kasan")), SETTINGS, {}, {}
    )
    bases = {task.key: task for task in made if task.kind == "base"}
    assert sorted(task.cells for task in bases.values()) == [("a", "b"), ("c",), ("d",)]
    for task in made:
        if task.kind == "cell":
            assert task.cell in bases[task.after[0]].cells
    # Bases first, of them that for which the most wait.
    assert [task.kind for task in made[:3]] == ["base"] * 3 and made[0].cells == ("a", "b")


def test_a_base_is_the_same_task_in_every_run_of_the_same_files() -> None:
    cells = plan(("a", "", ""))
    first, second = (graph.tasks(cells, replace(SETTINGS, run=run), {}, {}) for run in ("run-1", "run-2"))
    assert first[0].key == second[0].key and first[1].key != second[1].key
    other = graph.tasks(cells, replace(SETTINGS, bundle="c" * 64), {}, {})
    assert other[0].key != first[0].key


def test_a_base_is_built_for_all_its_cells_and_a_cell_runs_alone() -> None:
    base, one, _ = graph.tasks(plan(("a", "", ""), ("b", "", "")), SETTINGS, {}, {"a": 99.0})
    assert base.words[0] == "matrix" and "--prepare" in base.words
    assert [w for w in base.words if w in ("a", "b")] == ["a", "b"]
    # The longest first.
    assert one.cell == "a" and one.words == ("ci", "--series", "s", "--no-control", "--cell", "a")


def test_what_a_guest_has_is_what_its_worker_needs() -> None:
    _, one = graph.tasks(plan(("a", "", "")), replace(SETTINGS, requires={"kvm": 1}), {"a": 2048}, {})
    assert one.needs["memory-mib"] == 2048 + facts.BESIDE_GUEST_MIB
    assert one.needs["kvm"] == 1 and one.needs["guest"] == 1
    assert one.needs["kmodpipe-p"] == 1


@pytest.mark.parametrize(
    ("offers", "said"),
    [
        ([{"guest": 1, "memory-mib": 500}], ""),
        (
            [{"guest": 4, "memory-mib": 100}, {"guest": 0, "memory-mib": 200}],
            "memory-mib 400 (the most is 200)",
        ),
        ([], "guest 1 (the most is 0), memory-mib 400 (the most is 0)"),
        ([{"guest": 1, "memory-mib": 100}, {"guest": 0, "memory-mib": 900}], "all of it at once"),
    ],
)
def test_what_no_worker_has_is_named(offers: list[dict[str, float]], said: str) -> None:
    found = graph.unmet({"guest": 1.0, "memory-mib": 400.0}, offers)
    assert found.startswith(said) and bool(found) == bool(said)
