"""Answer the question of `invoke cover` from a run of a series' cases in cells that count."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from kmodpipe.analysis.cover import collect, formats, inject
from kmodpipe.analysis.cover.gcov_job import Gcov
from kmodpipe.analysis.cover.inject import Ran
from kmodpipe.analysis.cover.join import Question, join
from kmodpipe.build.sharing import Subject
from kmodpipe.pipeline.run_spec import RunSpec
from kmodpipe.pipeline.workspace import Kernel, Workspace
from kmodpipe.results import Run, coverage
from kmodpipe.results import cover_answer as answers
from kmodpipe.results.cover_answer import Answer
from kmodpipe.results.coverage import Coverage
from kmodpipe.series import Series
from kmodpipe.series.changes import changes, placed
from kmodpipe.util import document, paths
from kmodpipe.util.errors import InfraError, UserError
from kmodpipe.util.files import write_atomically

# What is compiled; of other files no line is ever executed.
_CODE = (".c", ".h", ".S", ".s", ".rs", ".inc")
# A source file that is larger is nobody's.
_SOURCE_BYTES = 32 * document.MIB


@dataclass(frozen=True)
class Asked:
    """The one series of a run, on the one kernel."""

    series: Series
    kernel: Kernel
    # The patched source.
    subject: Subject

    @property
    def tree(self) -> Path:
        """The top of what the series changes: the kernel's tree, or the module's own source."""
        return self.subject.own.path if self.subject.own else self.subject.src


def require_one(spec: RunSpec) -> Series:
    """Return the series of a run that cover can be asked about. Raise UserError, with a way out."""
    if len(spec.series) != 1:
        found = ", ".join(one.name for one in spec.series)
        raise UserError(
            f"cover looks at one series at a time, and there are {len(spec.series)}: {found}"
            if found
            else "there is no series: cover tells which of the lines that one changes are executed",
            hint="name one: --series NAME",
        )
    if len(spec.trees) != 1:
        raise UserError(
            f"cover looks at one kernel at a time: {', '.join(one.name for one in spec.trees)}",
            hint="name one: --kernel NAME",
        )
    if silent := [flavour for flavour in spec.flavours if not flavour.coverage]:
        raise UserError(
            f"the flavour {silent[0]} counts nothing",
            where=str(spec.matrix.path),
            hint="leave --flavour out, or give the flavour coverage = true and the fragment gcov.config",
        )
    return spec.series[0]


def compiles_nothing(series: Series) -> bool:
    """Return whether a series changes no file that is compiled: documentation, Kconfig and the like."""
    return not any(name.endswith(_CODE) for name in series.touched)


def asked(workspace: Workspace) -> Asked:
    """Return what is asked about. Raise UserError if the series does not apply to the kernel."""
    (kernel,) = workspace.kernels
    name = workspace.spec.series[0].name
    for subject in kernel.subjects:
        if subject.variant.name == name and subject.series:
            return Asked(subject.series, kernel, subject)
    why = kernel.unapplied.get(name, "it has no cell")
    raise UserError(
        f"series {name} is not tested on {kernel.source.name}: {why}",
        hint="name another kernel: --kernel NAME",
    )


def answer(
    workspace: Workspace, run: Run, folder: Path, injected: Ran | None = None
) -> tuple[Answer, Coverage]:
    """Read the counters of a run, write all files of the answer but the page, and return it.

    Raise InfraError if no cell counted anything.
    """
    one = asked(workspace)
    spec, screen = workspace.spec, workspace.screen
    touched, own = {*one.series.touched}, one.subject.own
    module = f"{own.folder}/".lstrip("/") if own else f"{spec.folder}/"
    place = collect.placed(
        one.tree.resolve(), lambda name: name in touched or name.startswith(module), own=own is not None
    )
    with screen.step("read the counters") as step, workspace.store.scratch("cover-") as scratch:

        def counted(of: Run, where: Path, name: str) -> Coverage:
            gcov = Gcov(workspace.runtime, spec.project.images, spec.jobs)
            (scratch / name).mkdir()
            return collect.collect(of, where, spec.module, gcov, scratch / name, place, step)

        found = counted(run, folder, "plain")
        if injected:
            found = inject.joined(found, counted(injected.run, injected.folder, "injected"))
        found_cells = [cell for _, cell in found.of_variant(one.series.name)]
        if not any(cell.files for cell in found_cells):
            raise _nothing_counted(run, found)
        coverage.save(found, folder)
        step.update("formats")
        formats.write(found_cells, one.tree, folder, scratch)
        step.finish(f"{len(found.cells)} cells")
    own_changes, after = placed(changes(one.series), _reader(_before(one)))
    question = Question(
        series=one.series.name,
        kernel=one.kernel.source.name,
        changes=own_changes,
        injected=injected.tries if injected else 0,
        notices=(*(injected.notices if injected else ()), *_differences(one, after)),
    )
    made = join(question, found)
    write_atomically(folder / answers.FILE_NAME, answers.to_json(made))
    return made, found


def _before(one: Asked) -> Path:
    """Return the tree that the series was applied to, which is the control's."""
    control = one.kernel.subjects[0]
    return control.own.path if control.own else control.src


def _reader(tree: Path) -> Callable[[str], bytes | None]:
    def read(name: str) -> bytes | None:
        if not paths.is_plain(name):
            return None
        try:
            return document.read(tree / name, most=_SOURCE_BYTES)
        except (OSError, document.Unreadable):
            return None

    return read


def _differences(one: Asked, after: Mapping[str, bytes]) -> tuple[str, ...]:
    """Return a notice for each file whose lines may be numbered otherwise than the compiler has them."""
    read = _reader(one.tree)
    return tuple(
        f"{name} is not in the tree as its patches leave it: its line numbers may be wrong"
        for name, data in sorted(after.items())
        if name.endswith(_CODE) and (read(name) or b"") != data
    )


def _nothing_counted(run: Run, found: Coverage) -> InfraError | UserError:
    """Return the error of a run in which no cell counted: with the reason of the first."""
    skipped = [f"{one.cell}: {one.reason}" for one in run.cells if one.reason]
    unknown = [f"{cell}: {one.unknown}" for cell, one in found.cells.items() if one.unknown]
    lines = [*skipped, *unknown]
    return InfraError(
        f"nothing was counted: {lines[0] if lines else 'no cell ran'}",
        detail="\n".join(lines[1:8]),
        hint="cover needs CONFIG_GCOV_KERNEL and CONFIG_DEBUG_FS in a kernel that is built from a tree",
    )
