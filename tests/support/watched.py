"""What a watch is told in tests: the inputs of a toy project, and results of its cells."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from dataclasses import replace

from kmodpipe.cli.invocation import Invocation
from kmodpipe.cli.options import WatchOptions
from kmodpipe.cli.resolve import resolve
from kmodpipe.pipeline.run_spec import RunSpec
from kmodpipe.results import CaseResult, CellResult, State, Verdict
from kmodpipe.util.screen import Mode, Screen
from kmodpipe.watch.inputs import Inputs, facts
from tests.support.toy import World

CONTROL, FIXED = "unpatched.INDEX=y.NOUUID=n", "toy-fix.INDEX=y.NOUUID=n"


def spec(world: World, **options: object) -> RunSpec:
    before = dict(os.environ)
    os.environ.update(world.environment())
    try:
        given = {"runtime": "host", "out": str(world.root / "out"), **options}
        call = Invocation(world.root, "", Screen(Mode.QUIET, out=io.StringIO()))
        return resolve(WatchOptions(**given), call, cases_too=True)  # type: ignore[arg-type]
    finally:
        os.environ.clear()
        os.environ.update(before)


def inputs(world: World, trees: Mapping[str, str] | None = None, **options: object) -> Inputs:
    found = spec(world, **options)
    return Inputs(found, facts(found, trees or {}))


def result(verdict: Verdict, case: str = "remount", **fields: object) -> CaseResult:
    made = CaseResult(case, verdict, f"it is a {verdict.value}", attempts=1)
    return replace(made, **fields)  # type: ignore[arg-type]


def cell(name: str, *cases: CaseResult, state: State = State.RAN, reason: str = "") -> CellResult:
    variant, *choice = name.split(".")
    return CellResult(name, variant, "", dict(one.split("=") for one in choice), state, reason, cases)
