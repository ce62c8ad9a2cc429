"""A run that was killed: what it had settled is read, by every command, and nothing else."""

from __future__ import annotations

import json
import time
from pathlib import Path

from kmodpipe import results
from kmodpipe.results import State, Verdict, journal
from tests.support import toy


def test_what_a_killed_run_settled_is_in_every_report(tmp_path: Path) -> None:
    world = toy.build(tmp_path)
    quick = world.script("quick.sh", "observe mounted")
    running = world.start("test", "--runtime", "host", "--jobs", "1", "--case", quick)
    try:
        deadline = time.monotonic() + 120
        while _settled(world.root) < 1 and time.monotonic() < deadline:
            time.sleep(0.01)
        running.kill()
        running.communicate(timeout=30)
    finally:
        running.kill()
    (folder,) = (world.root / "out").glob("2*")
    alone = results.from_json((folder / "results.json").read_text())
    assert not alone.finished and {c.state for c in alone.cells} == {State.NOT_RUN}
    run = results.load(folder / "results.json")
    told = [json.loads(line)["cell"] for line in _lines(folder) if "cell" in json.loads(line)]
    assert told, "it was killed before a cell was settled"
    assert not run.finished and len(list(run.results())) == len(run.cells) * len(run.cases)
    for cell in told:
        (found,) = [c for c in run.cells if c.cell == cell["cell"]]
        assert found.state.value == cell["state"]
    rest = [c for c in run.cells if c.cell not in {cell["cell"] for cell in told}]
    assert {c.state for c in rest} <= {State.NOT_RUN}
    assert all(case.verdict is Verdict.ERROR for c in rest for case in c.cases)

    shown = world.invoke("report", "--run", str(folder), "--format", "text")
    assert shown.code == 0, shown.text
    page = world.invoke("report", "--run", str(folder), "--html", str(tmp_path / "r.html"))
    assert page.code == 0 and "not finished" in (tmp_path / "r.html").read_text()
    both = world.invoke("report", "--run", str(folder), "--json")
    assert json.loads(both.out)["totals"] == results.totals(run)

    # A line that the kill cut off is as if it had not been; one of another plan is refused.
    path = folder / journal.NAME
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"cell": {"cell": "')
    assert results.load(folder / "results.json") == run
    path.write_bytes(whole.replace(b'"plan": "', b'"plan": "0', 1))
    refused = world.invoke("report", "--run", str(folder), "--format", "text")
    assert refused.code == 2 and "another plan" in refused.text
    path.write_bytes(whole)

    # The next run goes its way, and takes nothing over.
    again = world.invoke("test", "--runtime", "host", "--case", quick)
    assert again.code in (0, 1), again.text
    assert results.load(world.latest / "results.json").finished
    assert not (world.latest / journal.NAME).exists()


def _lines(folder: Path) -> list[str]:
    path = folder / journal.NAME
    return path.read_text().splitlines() if path.is_file() else []


def _settled(root: Path) -> int:
    return sum('{"cell": ' in line for folder in (root / "out").glob("2*") for line in _lines(folder))
