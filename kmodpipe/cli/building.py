"""`invoke build`."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, assert_never

from kmodpipe.build.configured import RuledOut
from kmodpipe.cli.invocation import Invocation
from kmodpipe.cli.options import MakeOptions
from kmodpipe.cli.resolve import require_on, resolve
from kmodpipe.pipeline import building
from kmodpipe.pipeline.builder import BuildFailed, Built, BuiltCell
from kmodpipe.pipeline.run_folder import RunFolder
from kmodpipe.pipeline.runtimes import again_if_gone
from kmodpipe.pipeline.stage_maker import Tally
from kmodpipe.pipeline.workspace import set_up
from kmodpipe.util.errors import ExitCode, InfraError, KernelFailure, KmodpipeError
from kmodpipe.util.screen import Screen
from kmodpipe.util.text import count

if TYPE_CHECKING:
    from kmodpipe.results import DeadAxis


def build(options: MakeOptions, call: Invocation) -> int:
    """Build, and print the result of each cell."""
    if options.on:
        from kmodpipe.cluster.scheduler import require_dask

        require_dask()
        from kmodpipe.cli import far

        return far.run(options, call, on=options.on, detach=options.detach, ask=far.Ask())
    require_on(detach=options.detach)
    return again_if_gone(lambda: _build(options, call), call.screen)


def _build(options: MakeOptions, call: Invocation) -> int:
    started = time.monotonic()
    spec = resolve(options, call)
    with call.cache() as cache:
        workspace = set_up(spec, cache, call.screen, engine_late=True)
        with RunFolder(spec.out) as folder:
            call.screen.log_to(folder.path / "events.jsonl")
            built, tally = building.build(workspace, folder)
            dead = building.find_dead_axes(workspace, built)
    return _report_build(call.screen, built, dead, tally, time.monotonic() - started)


def _report_build(
    screen: Screen, built: Sequence[Built], dead: Sequence[DeadAxis], tally: Tally, seconds: float
) -> int:
    """Print the result of each cell; return the exit code: failure before infrastructure."""
    code = ExitCode.OK
    told: list[KmodpipeError] = []
    for one in built:
        match one:
            case RuledOut(cell, reason):
                screen.print(f"– {cell.id}: skipped, {reason}")
            case BuildFailed(_, failure):
                if failure not in told:
                    # One of the series stops all of its cells.
                    told.append(failure)
                    screen.error(failure)
                code = max(code, failure.exit_code) if code != ExitCode.FAILURE else code
                if failure.exit_code == ExitCode.FAILURE:
                    code = ExitCode.FAILURE
            case BuiltCell():
                screen.print(f"✓ {one.cell.id}")
            case _:
                assert_never(one)
    for variant, reason in _unbuilt(built):
        what = f"no cell of {variant} could be built: {reason}"
        screen.error(InfraError(what, hint="nothing was compiled for it, so nothing is proved"))
        code = code if code == ExitCode.FAILURE else ExitCode.INFRA
    for axis in dead:
        if axis.failure:
            screen.error(KernelFailure(axis.message, detail="\n".join(axis.clues)))
            code = ExitCode.FAILURE
        else:
            screen.print(f"· {axis.message}")
    pulled = f"{len(tally.pulled)} pulled, " if tally.pulled else ""
    screen.print(
        f"{count(len(tally.made), 'step')} made, {pulled}{len(tally.cached)} cached, in {seconds:.1f} s"
    )
    return code


def _unbuilt(built: Sequence[Built]) -> list[tuple[str, str]]:
    """Return each series of which the tree rules out every cell, with a reason; all variants if that is all.

    The first patches of a series (``NAME@2``) are steps on the way to it, and may be ruled out.
    """
    ruled_out: dict[str, list[str]] = {}
    for one in built:
        if isinstance(one, RuledOut):
            ruled_out.setdefault(one.cell.variant.name, []).append(one.reason)
    alive = {one.cell.variant.name for one in built if not isinstance(one, RuledOut)}
    own = {one.cell.variant.name for one in built if not one.cell.variant.is_control}
    whole = {one.cell.variant.name for one in built if not one.cell.variant.partial}
    wanted = (own & whole) - alive if alive else set(ruled_out)
    return [(name, reasons[0]) for name, reasons in ruled_out.items() if name in wanted]
