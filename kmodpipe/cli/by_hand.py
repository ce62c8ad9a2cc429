"""`invoke boot`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from kmodpipe.cli.invocation import Invocation
from kmodpipe.cli.options import BootOptions
from kmodpipe.cli.resolve import resolve
from kmodpipe.judge import cases
from kmodpipe.pipeline import shell
from kmodpipe.pipeline.run_folder import RunFolder
from kmodpipe.pipeline.workspace import set_up
from kmodpipe.util import paths
from kmodpipe.util.errors import UserError
from kmodpipe.vm import accel
from kmodpipe.vm.devices import HostFolder


def boot(options: BootOptions, call: Invocation) -> int:
    """Choose the cell, the case to begin with and the folder; build, boot, and stay until the shell ends.

    Raise UserError if the options match several cells or cases.
    """
    folder = _host_folder(options)
    named = bool(options.case)
    spec = resolve(options, call, cases_too=named, compared=False)
    if not options.cell:
        own = spec.cells_of(spec.cells[-1].variant.name)
        if len(own) == 1:
            spec = resolve(replace(options, cell=(own[0].id,)), call, cases_too=named, compared=False)
    if len(spec.cases) > 1:
        raise UserError(f"boot begins with one case, {len(spec.cases)} match", where="--case")
    wanted = shell.ByHand(next((case.id for case in spec.cases), ""), options.gdb, folder)
    ids = [cell.id for cell in spec.cells]
    if len(ids) != 1:
        raise UserError(f"boot takes one cell, {len(ids)} match", hint=f"name one: --cell {ids[0]}")
    try:
        declared = cases.load(spec.project.cases)
    except UserError as e:
        # One that is to be run was read before.
        call.screen.warn(f"no other cases in the guest: {e.what}")
        declared = ()
    at_hand = spec.cells[0].flavour.tools
    spec = replace(spec, cases=shell.with_cases(spec.cases, declared, at_hand))
    with call.cache() as cache:
        proved = accel.probe(cache, call.screen)
        workspace = set_up(spec, cache, call.screen)
        with RunFolder(spec.out) as run_folder:
            return shell.shell(workspace, run_folder, proved, wanted)


def _host_folder(options: BootOptions) -> HostFolder | None:
    """Return the folder that the guest is to have. Raise UserError for one that is not there."""
    if not options.folder:
        if options.writable:
            raise UserError("--writable says how the guest has a folder", hint="--folder names it")
        return None
    path = Path(options.folder).absolute()
    if not paths.is_dir(path):
        raise UserError("this is no folder", where=f"--folder {options.folder}")
    return HostFolder(path, options.writable)
