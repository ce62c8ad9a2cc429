"""The cases that run are the ones that were there at the start, whatever becomes of the tree meanwhile."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kmodpipe import cases, pipeline, snapshot
from kmodpipe.errors import UserError
from kmodpipe.results import Run
from tests import toy

CELL = "toy-fix.INDEX=y.NOUUID=n"


def test_scripts_that_change_under_a_run_do_not_change_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = toy.build(tmp_path)
    script, lib = Path(world.script("own.sh", "exit 0")), world.root / "images/guest/lib.sh"
    lib.write_text("# before\n")
    before = cases.from_script(script).digest(b"# before\n")
    real = pipeline._Tester.run

    def run(self: pipeline._Tester) -> None:
        script.unlink()
        lib.write_text("# after\n")
        real(self)

    monkeypatch.setattr(pipeline._Tester, "run", run)
    ran = world.test("--cell", CELL, "--case", str(script))

    assert ran.code == 0, ran.text
    found = json.loads((world.latest / "results.json").read_text())["run"]["cases"]
    assert [(c["id"], c["digest"]) for c in found] == [("own", before)]
    assert "# toy: exit 0" in (world.latest / "shared/cases/own/own.sh").read_text()
    assert (world.latest / "shared/lib.sh").read_text() == "# before\n"


def test_results_without_digests_can_still_be_read() -> None:
    assert Run("id", "now", (pipeline.CaseInfo("a", "summary", "goal"),)).cases[0].digest == ""


def test_a_script_that_is_gone_is_a_usage_error(tmp_path: Path) -> None:
    script, lib = tmp_path / "own.sh", tmp_path / "lib.sh"
    script.write_text("#!/bin/sh\n")
    lib.write_text("")
    case = cases.from_script(script)
    script.unlink()
    with pytest.raises(UserError, match="cannot be read"):
        snapshot.take([case], lib, tmp_path / "shared")
