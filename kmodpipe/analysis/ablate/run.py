"""`invoke ablate`: prepare the whole series, try the edits in parallel, and write the answer.

OUT/<run>/ablate.json
OUT/<run>/unnoticed/<series>-<edit>/     the series with the edit as its last patch, for invoke test --series
OUT/<run>/<series>-<edit>.<cell>/        build.log, and guests-N/console.log of each guest
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from kmodpipe import series as all_series
from kmodpipe.analysis.ablate import order, records
from kmodpipe.analysis.ablate.bench import Bench
from kmodpipe.analysis.ablate.edits import Edit, Edits
from kmodpipe.analysis.ablate.explained import explain
from kmodpipe.analysis.ablate.guests import Guests
from kmodpipe.analysis.ablate.memory import Memory
from kmodpipe.analysis.ablate.modules import Modules, content, with_edit
from kmodpipe.analysis.ablate.records import Ablation, Finding, Status
from kmodpipe.analysis.ablate.study import Ground, Study, until
from kmodpipe.analysis.ablate.touching import Touching
from kmodpipe.build.sharing import Subject
from kmodpipe.pipeline import question, snapshot
from kmodpipe.pipeline.builder import BuildFailed, BuiltCell, CellBuilder, GuestParts, Row
from kmodpipe.pipeline.cell_folder import GuestCopies
from kmodpipe.pipeline.run_folder import RunFolder
from kmodpipe.pipeline.run_spec import RunSpec
from kmodpipe.pipeline.stage_maker import StageMaker
from kmodpipe.pipeline.workspace import Workspace
from kmodpipe.series import Patch, Series, changes
from kmodpipe.util.digest import digest_file, digest_of
from kmodpipe.util.errors import KernelFailure, UserError, unknown_name
from kmodpipe.util.screen import Mode, Screen
from kmodpipe.util.text import count
from kmodpipe.util.workers import gather, workers
from kmodpipe.vm import accel as accels
from kmodpipe.vm import speed as speeds
from kmodpipe.vm.accel import Accel

# The rooms whose code decides what a case comes to.
_DECIDING = ("build", "judge", "logs", "vm")


@dataclass(frozen=True)
class Wanted:
    """What is to be tried."""

    # The kinds of edits; all if empty.
    kinds: tuple[str, ...] = ()
    # Only hunks and mistakes whose ids begin so.
    only: tuple[str, ...] = ()
    # Seconds; None for no bound.
    budget_s: float | None = None

    def has(self, edit: Edit) -> bool:
        """Return whether an edit is wanted."""
        kind = not self.kinds or edit.kind in self.kinds
        return kind and (not self.only or any(_begins(edit.id, one) for one in self.only))

    def require(self, every: Sequence[Edit]) -> None:
        """Raise UserError for an id that no edit has."""
        for one in self.only:
            if not any(_begins(edit.id, one) for edit in every):
                raise unknown_name("edit", one, [edit.id for edit in every], where="--only")


def _begins(name: str, wanted: str) -> bool:
    return name == wanted or name.startswith((f"{wanted}.", f"{wanted}-"))


def for_one_series(spec: RunSpec) -> RunSpec:
    """Return the run with the cells of its series alone. Raise UserError for several series or kernels."""
    if len(spec.series) != 1:
        hint = "name one: --series NAME"
        raise UserError(f"ablate takes one series, {len(spec.series)} are given", hint=hint)
    if len(spec.kernels) > 1:
        names = ", ".join(name for name, _ in spec.kernels)
        raise UserError(f"ablate takes one kernel, these are several: {names}", hint="name one: --kernel")
    own = spec.cells_of(spec.series[0].name)
    if not own:
        raise UserError(f"none of the chosen cells is one of {spec.series[0].name}")
    if not spec.cases:
        raise UserError("there is no case to notice anything")
    return replace(spec, cells=own, companions=())


def ablate(
    workspace: Workspace,
    folder: RunFolder,
    accel: Accel,
    wanted: Wanted,
    touching: Touching,
    notes: Sequence[str],
) -> Ablation:
    """Try each edit, write ablate.json, and return the answer."""
    return _Ablate(workspace, folder, accel, wanted, touching, notes).run()


class _Ablate:
    def __init__(
        self,
        workspace: Workspace,
        folder: RunFolder,
        accel: Accel,
        wanted: Wanted,
        touching: Touching,
        notes: Sequence[str],
    ) -> None:
        self._began = time.monotonic()
        self._workspace = workspace
        self._folder = folder
        self._accel = accel
        self._wanted = wanted
        self._notes = list(notes)
        self._screen = workspace.screen
        lib = workspace.spec.project.images / "guest" / "lib.sh"
        self._snapshot = snapshot.take(workspace.spec.cases, lib, folder.shared)
        spec = replace(workspace.spec, cases=self._snapshot.cases)
        self._digests = {
            name: digest_of([fact, self._snapshot.digest(case)])
            for (name, fact), case in zip(question.case_facts(spec).items(), spec.cases, strict=True)
        }
        self._touching = replace(touching, now=question.case_facts(spec))
        self._facts = {**question.facts(spec)}
        self._findings: dict[str, Finding] = {}
        self._lock = threading.Lock()
        self._edits: Edits | None = None
        # As it is for the kernel.
        self._series = workspace.spec.series[0]
        self._all: tuple[Edit, ...] = ()

    def run(self) -> Ablation:
        with ExitStack() as stack:
            try:
                self._run(stack)
            except BaseException as e:
                # What is known so far is written down; the answers are in the cache.
                self._answer()
                if isinstance(e, KeyboardInterrupt):
                    # For the message, which whoever ends the command writes.
                    after = f"after {len(self._findings)} of {len(self._all)} edits"
                    e.args = (after, str(self._folder.path))
                raise
            return self._answer()

    def _run(self, stack: ExitStack) -> None:
        workspace = self._workspace
        quiet = replace(workspace, screen=Screen(Mode.QUIET))
        with workers(workspace.spec.jobs) as pool:
            builder = CellBuilder(workspace, StageMaker(workspace, self._folder))
            rows = builder.prepare(pool)
            parts = builder.guest()
            built = [row.result() for row in [pool.submit(builder.cell, *row) for row in rows]]
            cells = self._usable(built)
            subject = self._subject(rows, cells)
            if workspace.spec.cells and builder.bases:
                proof = accels.ProofKernel(builder.bases[0].path / "out" / "bzImage", parts.rootfs)
                self._accel = accels.confirm(self._accel, proof, workspace.store.cache, self._screen)
            with workspace.store.scratch("speed-") as scratch:
                speed = speeds.measure(self._accel, scratch)
            edits = self._edits = self._read(subject)
            every = [*edits.hunks(), *edits.mistakes()]
            self._wanted.require(every)
            self._all = tuple(one for one in every if self._wanted.has(one))
            self._screen.say(_plan_in_words(self._all, cells))
            # What is built and booted for an edit is one step on the screen.
            maker = StageMaker(quiet, self._folder)
            quick = CellBuilder(quiet, maker)
            quick.prepare(pool)
            copies = GuestCopies(self._folder, self._snapshot.lib)
            guests = Guests(quiet, quick, self._folder, copies, parts, self._accel, speed.factor)
            tree = subject.own.path if subject.own else subject.src
            bench = Bench(tree, workspace.store, stack)
            modules = Modules(quiet, self._folder, quick, maker, subject, edits, bench)
            grounds = [Ground(one, self._ground(one, parts), content(one)) for one in cells]
            study = Study(
                edits, grounds, modules, guests, Memory(workspace.store.cache), self._snapshot.cases,
                self._digests, self._touching, until(self._began, self._wanted.budget_s),
            )  # fmt: skip
            self._look(study, grounds, pool.submit)
            self._try(study, grounds, pool.submit)

    # -- the whole series ------------------------------------------------------------------------------
    def _usable(self, built: Sequence[object]) -> list[BuiltCell]:
        """Return the cells that can be booted; say which cannot. Raise the error if none can."""
        cells = [one for one in built if isinstance(one, BuiltCell)]
        failed = [one for one in built if isinstance(one, BuildFailed)]
        for one in failed:
            self._note(f"left out, as the whole series does not build there: {one.cell.id}")
        if not cells:
            if failed:
                raise failed[0].failure
            raise UserError("the tree rules out every cell of the series")
        return cells

    def _subject(self, rows: Sequence[Row], cells: Sequence[BuiltCell]) -> Subject:
        return next(subject for subject, one in rows if one.cell.id == cells[0].cell.id)

    def _read(self, subject: Subject) -> Edits:
        """Return the edits of the series on its tree. Raise UserError if it cannot be followed there."""
        control = self._workspace.kernels[0].subjects[0]
        series = subject.series
        if series is None:
            raise AssertionError("a cell of the series has no series")
        self._series = series
        before = control.own.path if control.own else control.src
        after = subject.own.path if subject.own else subject.src
        placed, _ = changes.placed(changes.changes(series), lambda name: _content(before / name))
        edits = Edits((patch.name for patch in series.patches), placed, lambda name: _content(before / name))
        for path, text in edits.weave.whole().items():
            if text != _content(after / path):
                raise UserError(
                    f"how the series changes {path} cannot be followed line by line",
                    where=series.name,
                    hint="rebase it on the tree, so that each hunk applies where it says",
                )
        return edits

    def _ground(self, built: BuiltCell, parts: GuestParts) -> str:
        """Return a digest of all that an outcome in a cell depends on, but the case and the edit."""
        code = Path(all_series.__file__).parent.parent
        flavour = built.cell.flavour
        return digest_of([
            built.base.key, built.module.key, built.cell.id, built.cell.variant.design,
            parts.guest.key, sorted(one.key for one in parts.tools(flavour).values()),
            question.plain(flavour),
            {name: digest for name, digest in self._facts.items()
             if name in ("library", "recipes", "project", "module", "own") or name.startswith("benign")},
            [digest_file(path) for room in _DECIDING for path in sorted((code / room).rglob("*.py"))],
        ])  # fmt: skip

    def _look(self, study: Study, grounds: Sequence[Ground], submit: Callable[..., object]) -> None:
        """Run the cases with the whole series in each cell."""

        def one(ground: Ground) -> None:
            with self._screen.step(f"whole series {ground.id}") as step:
                study.look_at(ground)
                step.finish(count(len(study.usable(ground)), "case"))

        gather([submit(one, ground) for ground in grounds])  # type: ignore[misc]
        able = {name for ground in grounds for name in study.usable(ground)}
        if not able:
            raise KernelFailure(
                "no case comes to a verdict with the whole series, so none can notice anything",
                hint="run it first: invoke test",
            )
        if lacking := [name for name in self._digests if name not in able]:
            self._note(f"cases without a pass or failure in the whole series: {', '.join(lacking)}")

    # -- the edits -------------------------------------------------------------------------------------
    def _try(self, study: Study, grounds: Sequence[Ground], submit: Callable[..., object]) -> None:
        cells = [ground.built.cell for ground in grounds]
        names = tuple(self._digests)

        def is_free(edit: Edit) -> bool:
            return edit.no_code or not any(self._touching.cases(edit, cell, names) for cell in cells)

        def one(edit: Edit) -> None:
            with self._screen.step(f"{edit.id} {edit.path}:{edit.line}") as step:
                found = study.examine(edit)
                step.finish(in_words(found), failed=found.status is Status.UNNOTICED)
            with self._lock:
                self._findings[edit.id] = found
                text = f"{len(self._findings)} of {len(self._all)} tried"
            self._screen.progress(text)

        gather([submit(one, edit) for edit in order.most_telling_first(self._all, is_free)])  # type: ignore[misc]

    # -- the answer ------------------------------------------------------------------------------------
    def _note(self, text: str) -> None:
        self._notes.append(text)
        self._screen.say(text)

    def _answer(self) -> Ablation:
        series = self._series
        with self._lock:
            found = [self._findings.get(one.id) or _untried(one) for one in self._all]
        stale: tuple[str, ...] = ()
        if self._edits:
            edits = self._edits
            whole = not self._wanted.kinds and not self._wanted.only
            told, stale = explain(
                series, found, lambda one: _hunk(edits, one), lambda f, n: _line(edits, f, n)
            )
            # Of a part of the edits it is not known what the entries of the others explain.
            found, stale = list(told), stale if whole else ()
            self._write_series(found)
        answer = records.made(
            series.name, self._folder.id, found, stale, self._notes, time.monotonic() - self._began
        )
        records.save(answer, self._folder.path)
        return answer

    def _write_series(self, found: Sequence[Finding]) -> None:
        """Write the series with each edit that no case notices, as a folder for --series."""
        by_id = {one.id: one for one in self._all}
        for one in found:
            if one.status is Status.UNNOTICED and self._edits:
                module = "" if self._workspace.spec.own else self._workspace.spec.module
                write_series(self._series, module, by_id[one.id], one, self._edits, self._folder.path)


def write_series(series: Series, module: str, edit: Edit, found: Finding, edits: Edits, folder: Path) -> None:
    """Write the series with an edit as its last patch below ``folder``."""
    here = folder / "unnoticed" / with_edit(series, edit, edits).name
    last = Patch(f"{edit.slug}.patch", here, "", (), found.diff.encode("utf-8", "surrogateescape"))
    lines = []
    for patch in (*series.patches, last):
        (here / patch.name).parent.mkdir(parents=True, exist_ok=True)
        (here / patch.name).write_bytes(patch.data)
        lines.append(f"{patch.name}{' -p0' * (patch.strip == 0)}\n")
    (here / "series").write_text("".join(lines))
    fields = {"module": module, "design": series.design}
    table = [f"{name} = {json.dumps(value)}\n" for name, value in fields.items() if value]
    if series.axes:
        axes = ", ".join(f"{axis} = {json.dumps(symbol)}" for axis, symbol in series.axes.items())
        table.append(f"axes = {{ {axes} }}\n")
    (here / "series.toml").write_text("".join(table))


def in_words(one: Finding) -> str:
    """Return what became of an edit, in a phrase."""
    match one.status:
        case Status.CASE:
            return f"noticed by {one.case} in {one.cell} ({one.before} → {one.after})"
        case Status.COMPILER:
            return f"noticed by the compiler: {one.reason}"
        case Status.KCONFIG:
            return f"noticed by Kconfig in {one.cell}: {one.reason}"
        case Status.UNNOTICED:
            return f"no case notices{f': {one.reason}' if one.reason else ''}"
        case Status.EXPLAINED:
            return f"no case notices, explained: {one.reason}"
        case Status.NO_CODE:
            return "no code"
        case Status.SAME:
            return "the module is the same"
        case Status.UNKNOWN:
            return f"not known: {one.reason}"
        case Status.NOT_TRIED:
            return "not tried yet"


def _plan_in_words(edits: Sequence[Edit], cells: Sequence[BuiltCell]) -> str:
    hunks = sum(one.kind == "hunk" for one in edits)
    return (
        f"{count(hunks, 'hunk')} to leave out, {count(len(edits) - hunks, 'mistake')} to make, "
        f"in {count(len(cells), 'cell')}"
    )


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None


def _untried(edit: Edit) -> Finding:
    return Finding(
        edit.id, edit.kind, edit.hunks[0][0], edit.path, edit.line, edit.function, Status.NOT_TRIED,
        edit.was, edit.becomes, observe=edit.observe,
    )  # fmt: skip


def _hunk(edits: Edits, one: Finding) -> changes.Hunk:
    origin = edits.origin(one.id.partition("-")[0])
    if origin is None:
        raise AssertionError(f"{one.id} has no hunk")
    return edits.weave.hunk(origin)


def _line(edits: Edits, path: str, number: int) -> str:
    lines = (edits.weave.content(path) or b"").decode("utf-8", "surrogateescape").split("\n")
    return lines[number - 1] if 1 <= number <= len(lines) else ""
