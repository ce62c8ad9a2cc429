"""Results, plans and TOML files that mean harm: special files, bombs, what JSON readers take differently."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

from kmodpipe import results
from tests.faults import Outcome, Scene
from tests.faults.hostile.base import Outside, Try, fault, outcome_of
from tests.support.sample_days import bad

_SCHEMA = "does not match its schema"


@fault("documents", "a results.json, a plan or a matrix that is a pipe, 1 GB, nested, not finite, or a lie")
def documents(scene: Scene) -> Outcome:
    outside = Outside(scene)
    good = json.loads(results.to_json(bad()))
    pipe, large, deep = (scene.root / name for name in ("pipe", "large.json", "deep.json"))
    os.mkfifo(pipe)
    with large.open("wb") as f:
        f.truncate(10**9)
    deep.write_text("[" * 100_000)
    key = scene.root / "key.toml"
    key.write_text("a." * 100_000 + "b = 1\n")
    plan = scene.root / "plan.json"
    plan.write_text('{"schema": "kmodpipe-plan", "version": 1, "plan": {"cells": [NaN]}}')

    def changed(name: str, change: Callable[[dict[str, object]], object]) -> Path:
        run = json.loads(json.dumps(good["run"]))
        change(run["cells"][0]["cases"][0])
        path = scene.root / f"{name}.json"
        path.write_text(json.dumps({**good, "run": run}))
        return path

    case = changed("case", lambda c: c.update(case="never-heard-of"))
    time = changed("time", lambda c: c.update(duration_s="nan"))
    huge = changed("huge", lambda c: c.update(attempts=10**30))
    half = changed("half", lambda c: c.update(message="\ud800"))
    tries = (
        Try("a plan that is a pipe", ("collect", "--plan", pipe), "it is a FIFO"),
        Try("a folder as a plan", ("matrix", "--plan", scene.root), "it is a folder"),
        Try("a device as a plan", ("collect", "--plan", "/dev/zero"), "it is a device"),
        Try("a plan with NaN", ("collect", "--plan", plan), "it holds NaN"),
        Try("results of 1 GB", ("report", "--run", large), "larger than 512 MiB"),
        Try("nested results", ("report", "--run", deep), "64 levels"),
        Try("a case that nobody planned", ("report", "--run", case, "--format", "findings"), _SCHEMA),
        Try("a time that is none", ("report", "--run", time, "--junit", scene.root / "j.xml"), _SCHEMA),
        Try("a number of 31 digits", ("report", "--run", huge), "31 digits"),
        Try("half a surrogate pair", ("report", "--run", half, "--format", "mail"), "half a surrogate"),
        Try("a matrix that is a pipe", ("plan", "--matrix", pipe), "FIFO|not a file|no such"),
        Try("a key of 100,000 parts", ("plan", "--matrix", key), "64 parts"),
    )
    return outcome_of(scene, tries, outside)
