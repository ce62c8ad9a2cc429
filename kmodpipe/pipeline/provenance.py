"""Record what really ran, as properties of a run and of its cells: flat mappings of text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from kmodpipe import __version__, results
from kmodpipe.build import module_warnings, shared_image
from kmodpipe.build.sharing import Subject
from kmodpipe.cache.share import origin
from kmodpipe.pipeline import question
from kmodpipe.pipeline.builder import BuiltCell, GuestParts
from kmodpipe.pipeline.cell_job import GuestFiles
from kmodpipe.pipeline.cell_run import Boot, Executed
from kmodpipe.pipeline.own_module import ModuleUnderTest
from kmodpipe.pipeline.workspace import Workspace
from kmodpipe.report import new_warnings
from kmodpipe.report.rerun import PROPERTY, argument_property
from kmodpipe.results import ALLOW_EMPTY, OWN_IDENTITY, OWN_MODULE
from kmodpipe.series import came_from, changes
from kmodpipe.source.git import commit_of
from kmodpipe.util import process
from kmodpipe.util.text import one_line, visible_lines
from kmodpipe.vm.accel import Accel
from kmodpipe.vm.boot_record import GuestEnd


def of_run(workspace: Workspace, accel: Accel | None, notes: Mapping[str, str]) -> Mapping[str, str]:
    """Return the properties that all cells of a run have in common; ``notes`` are the caller's own.

    ``accel`` is None for a run without guests.
    """
    spec = workspace.spec
    trees = workspace.sources
    found = {
        "kmodpipe": __version__,
        "command": spec.command,
        "tree": ", ".join(tree.name for tree in trees.values()),
    }
    found[PROPERTY] = spec.repeat_command
    found |= {argument_property(name): given for name, given in spec.series_arguments.items()}
    for kernel, tree in trees.items():
        own = {**tree.provenance, "identity": tree.identity, "kernel-version": tree.kernel_version}
        found |= {results.of_tree(key, kernel): value for key, value in own.items()}
    for one in spec.series:
        found[f"series.{one.name}"] = one.digest
        found |= {f"series.{one.name}.{p.name}": p.sha256 for p in one.patches}
        mail = {
            "subject": one.subject,
            "message-id": one.message_id,
            "summary": one.summary,
            "text": one.text,
        }
        found |= {f"series.{one.name}.{name}": visible_lines(value) for name, value in mail.items() if value}
    for one_kernel in workspace.kernels:
        ports = {s.series.name: s.series for s in one_kernel.subjects if s.series and s.series.port}
        for name, ported in ports.items():
            place = ".".join(filter(None, ("port", name, one_kernel.name)))
            found[place] = f"{ported.port}, SHA-256 over the patches: {ported.digest}"
    found |= {f"builder.{k}": v for k, v in workspace.identity.items()}
    found["builder.isolation"] = workspace.runtime.isolation
    image = workspace.identity.get("image", "")
    if workspace.share and (where := shared_image.origin(workspace.store, image)):
        found["builder.from"] = where
    found |= {"module": spec.module, "matrix": spec.matrix.path.name}
    if spec.own:
        identity = workspace.own_identity
        found |= {OWN_MODULE: _control(spec.own, identity), OWN_IDENTITY: identity}
    found |= {**question.comparable(spec), **notes}
    found |= {"shuffle": str(spec.shuffle)}
    found |= {"sample": "; ".join(spec.sample_notes)} if spec.sample else {}
    found |= {"attempts": str(spec.retries.attempts), "repeat": str(spec.retries.repeat)}
    found |= {ALLOW_EMPTY: "yes"} if spec.allow_empty else {}
    if accel:
        found |= {"accel": accel.name, "accel.cpu": accel.cpu, "accel.reason": accel.reason}
    return found


def _control(own: ModuleUnderTest, identity: str) -> str:
    """Return what the control is, of a branch or a tag with the commit that it was."""
    return f"{own.control} ({commit_of(identity)[:12]})" if own.spec.moves else own.control


def of_cell(
    subject: Subject, built: BuiltCell, guest: GuestParts, files: GuestFiles, done: Executed, accel: Accel
) -> Mapping[str, str]:
    """Return the properties of a cell whose cases ran."""
    record = done.boots[-1].record if done.boots else None
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
    back = came_from.through(changes.changes(subject.series)) if subject.series else None
    found |= new_warnings.recorded(module_warnings.of(built.module, subject.src), back)
    for boot in done.boots:
        if boot.record.end is not GuestEnd.DONE:
            found[f"boot.{boot.number}"] = one_line(f"{boot.record.end.value}: {boot.record.detail}")
    found |= {"accel": accel.name, "accel.cpu": accel.cpu}
    if record:
        found["qemu"] = process.pasteable(record.argv)
        if record.to_init_s is not None:
            found["kernel-to-init-seconds"] = f"{record.to_init_s:.2f}"
        found["guest-seconds"] = f"{sum(b.record.duration_s for b in done.boots):.2f}"
        found |= _spent(done.boots)
    # Where artifacts that were not made on this machine were pulled from, with the digest.
    own = {name: guest.versions.get(name, "") for name in guest.names[built.cell.flavour.name]}
    found |= {f"tools.{name}": version for name, version in own.items() if version}
    origins = {"base.from": origin(built.base), "guest.from": origin(guest.guest)}
    return found | {name: where for name, where in origins.items() if where}


def _spent(boots: Sequence[Boot]) -> Mapping[str, str]:
    """Return how much processor time QEMU got: in all guests, and in each whose files are kept."""
    spent = [boot.record.spent for boot in boots]
    found = {
        "guest-cpu-seconds": f"{sum(one.cpu_s for one in spent):.2f}",
        "guest-waited-seconds": f"{sum(one.waited_s for one in spent):.2f}",
    }
    for boot in boots:
        if boot.kept:
            one = boot.record.spent
            found[f"guest.{boot.number}.time"] = (
                f"{one.wall_s:.2f} s, {one.cpu_s:.2f} s of processor time, {one.waited_s:.2f} s waiting"
            )
    return found
