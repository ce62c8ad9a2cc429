"""What ran is what is written down: a run's properties and a cell's, flat."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from kmodpipe import __version__
from kmodpipe.build import shared_image
from kmodpipe.cache.share import origin
from kmodpipe.judge.attempts import Tries
from kmodpipe.pipeline.builder import Built, GuestParts
from kmodpipe.pipeline.cell_run import Boot, Executed, GuestFiles
from kmodpipe.pipeline.config import Project
from kmodpipe.pipeline.workspace import Bench, Request
from kmodpipe.report.rerun import PROPERTY, argument_property
from kmodpipe.series import Series
from kmodpipe.util import process
from kmodpipe.util.text import one_line
from kmodpipe.vm.accel import Accel
from kmodpipe.vm.boot_record import GuestEnd


def of_run(
    bench: Bench, command: str, tries: Tries, accel: Accel, notes: Mapping[str, str]
) -> Mapping[str, str]:
    """What really ran in all cells, flat; ``notes`` are whatever else the caller knows of the run."""
    found = {"kmodpipe": __version__, "command": command, "tree": bench.tree.name}
    found |= repeat_properties(bench.asked.request, bench.asked.project, bench.asked.series)
    found |= {f"tree.{k}": v for k, v in bench.tree.provenance.items()}
    found |= {"tree.identity": bench.tree.identity, "tree.kernel-version": bench.tree.kernel_version}
    for one in bench.asked.series:
        found[f"series.{one.name}"] = one.digest
        found |= {f"series.{one.name}.{p.name}": p.sha256 for p in one.patches}
        mail = {"subject": one.subject, "message-id": one.message_id}
        found |= {f"series.{one.name}.{name}": value for name, value in mail.items() if value}
    found |= {f"builder.{k}": v for k, v in bench.identity.items()}
    found["builder.isolation"] = bench.runtime.isolation
    if bench.share and (where := shared_image.origin(bench.store, bench.identity.get("image", ""))):
        found["builder.from"] = where
    found |= {"module": bench.asked.module, "matrix": bench.asked.request.matrix.name}
    found |= {"matrix.digest": bench.asked.matrix.digest, **notes}
    found |= {"shuffle": str(bench.asked.request.shuffle)}
    found |= {"attempts": str(tries.attempts), "repeat": str(tries.repeat)}
    found |= {"accel": accel.name, "accel.cpu": accel.cpu, "accel.reason": accel.reason}
    return found


def of_cell(
    built: Built, guest: GuestParts, files: GuestFiles, done: Executed, accel: Accel
) -> Mapping[str, str]:
    """What a cell that ran was, flat."""
    assert built.base and built.module
    session = done.boots[-1].session if done.boots else None
    found = {
        "config": "config",
        "compiler": built.configured.final.get("CC_VERSION_TEXT", "").strip('"'),
        "base": built.base.key,
        "module": built.module.key,
        "kernel.build-id": files.kernel_build_id,
        **{f"module.{name}.build-id": value for name, value in files.module_build_ids.items()},
        **{f"module.{name}.sha256": value for name, value in files.module_digests.items()},
        "boots": str(len(done.boots)),
    }
    for boot in done.boots:
        if boot.session.end is not GuestEnd.DONE:
            told = f"{boot.session.end.value}: {boot.session.detail}"
            found[f"boot.{boot.number}"] = one_line(told)
    found |= {"accel": accel.name, "accel.cpu": accel.cpu}
    if session:
        found["qemu"] = process.pasteable(session.argv)
        if session.to_init_s is not None:
            found["kernel-to-init-seconds"] = f"{session.to_init_s:.2f}"
        found["guest-seconds"] = f"{sum(b.session.duration_s for b in done.boots):.2f}"
        found |= _spent(done.boots)
    # What was not made here, with the digest that it was pulled by.
    origins = {"base.from": origin(built.base), "guest.from": guest.origin}
    return found | {name: where for name, where in origins.items() if where}


def _spent(boots: Sequence[Boot]) -> Mapping[str, str]:
    """What QEMU got of this machine: in all, and in each guest whose files are there."""
    spent = [boot.session.spent for boot in boots]
    found = {
        "guest-cpu-seconds": f"{sum(one.cpu_s for one in spent):.2f}",
        "guest-waited-seconds": f"{sum(one.waited_s for one in spent):.2f}",
    }
    for boot in boots:
        if boot.kept:
            one = boot.session.spent
            told = f"{one.wall_s:.2f} s, {one.cpu_s:.2f} s of processor time, {one.waited_s:.2f} s waiting"
            found[f"guest.{boot.number}.time"] = told
    return found


def repeat_properties(request: Request, project: Project, series: Sequence[Series]) -> dict[str, str]:
    """What `command` needs of a run. What is the project's default is left out of the command, for it will be
    read again; series have to be named, and those that were given by a path are found by that."""
    argv = ["invoke", "test"]
    if request.tree != project.tree:
        argv += ["--tree", request.tree]
    if request.matrix != project.matrix:
        argv += ["--matrix", str(request.matrix)]
    if request.module:
        argv += ["--module", request.module]
    argv += [part for name in request.flavours for part in ("--flavour", name)]
    argv += ["--head"] * request.head + ["--each-patch"] * request.each_patch
    if request.runtime != "docker":
        argv += ["--runtime", request.runtime]
    found = {PROPERTY: process.pasteable(argv)}
    given = [name for name in request.series if name != "none"]
    whole = [one for one in series if not one.partial]
    for one, argument in zip(whole, given, strict=False):
        if argument != one.name:
            found[argument_property(one.name)] = argument
    return found
