"""Scripts that change under a run, in the toy world."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kmodpipe.judge import cases
from kmodpipe.pipeline import run
from tests.support import toy

CELL = "toy-fix.INDEX=y.NOUUID=n"


def test_scripts_that_change_under_a_run_do_not_change_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = toy.build(tmp_path)
    script, lib = Path(world.script("own.sh", "exit 0")), world.root / "images/guest/lib.sh"
    lib.write_text("# before\n")
    before = cases.from_script(script).digest(b"# before\n")
    real = run._TestRun.run

    def change_then_run(self: run._TestRun) -> None:
        script.unlink()
        lib.write_text("# after\n")
        real(self)

    monkeypatch.setattr(run._TestRun, "run", change_then_run)
    ran = world.test("--cell", CELL, "--case", str(script))

    assert ran.code == 0, ran.text
    found = json.loads((world.latest / "results.json").read_text())["run"]["cases"]
    assert [(c["id"], c["digest"]) for c in found] == [("own", before)]
    assert "# toy: exit 0" in (world.latest / "shared/cases/own/own.sh").read_text()
    assert (world.latest / "shared/lib.sh").read_text() == "# before\n"


def test_the_rights_of_a_file_in_the_guest_make_it_anew(tmp_path: Path) -> None:
    world = toy.build(tmp_path)
    helper = world.root / "images/guest/helper"
    helper.write_text("#!/bin/sh\n")

    def guests() -> int:
        assert world.test("--cell", CELL).code == 0
        return len(list((world.cache / "store/guest").glob("[0-9a-f]*")))

    assert guests() == guests() == 1
    helper.chmod(0o755)
    assert guests() == 2
