"""From options to what runs, and back to the words that repeat it."""

from __future__ import annotations

import shutil
from pathlib import Path

from kmodpipe.cli.invocation import Invocation
from kmodpipe.cli.options import RunOptions, Use, command_line
from kmodpipe.cli.resolve import resolve
from tests.support import REPO


def test_the_command_that_repeats_names_what_is_not_the_default(tmp_path: Path) -> None:
    assert resolve(RunOptions(series=("uuid-off",)), Invocation(REPO)).repeat_command == "invoke test"
    own = RunOptions(
        tree=("~/linux",), matrix="/m.toml", head=True, each_patch=True, runtime="host",
        flavour=("xfs",), module="fs/x", series=("a.mbox",), jobs=3, case=("x",), cell=("y",), share="none",
    )  # fmt: skip
    told = "--tree ~/linux --head --each-patch --matrix /m.toml --module fs/x --flavour xfs --runtime host"
    assert command_line(own, Use.REPEAT) == told.split()
    folder = tmp_path / "elsewhere"
    shutil.copytree(REPO / "patches" / "uuid-off", folder)
    spec = resolve(RunOptions(series=(str(folder),)), Invocation(REPO))
    assert spec.series_arguments == {spec.series[0].name: str(folder)}
