"""Join the states of a series to what each patch brings: every check as a difference to before it. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from kmodpipe.analysis.check import exports, includes, sizes, stack, tags
from kmodpipe.analysis.check.cocci import ALL, Reports
from kmodpipe.analysis.check.compiled import Compiled
from kmodpipe.analysis.check.model import (
    BUILDS,
    CHECKS,
    COCCINELLE,
    COMPILER,
    EXPORTS,
    INCLUDES,
    KERNEL_DOC,
    SIZE,
    SPARSE,
    STACK,
    Check,
    Finding,
    Level,
    Outcome,
    PatchReport,
)
from kmodpipe.analysis.check.sparse import Said
from kmodpipe.analysis.check.tags import Commits
from kmodpipe.build import compile_warnings
from kmodpipe.build.compile_warnings import CompileWarning
from kmodpipe.series import came_from, changes
from kmodpipe.series.came_from import Origin
from kmodpipe.series.model import Patch
from kmodpipe.series.numbering import tag_of
from kmodpipe.util.text import count, one_line

Choice = tuple[tuple[str, str], ...]
"""The values of a cell's axes, and its flavour under the name ``flavour``."""


@dataclass(frozen=True)
class Broken:
    """A state that does not compile in a cell."""

    # What the compiler said first, and where.
    text: str
    file: str = ""
    line: int = 0
    # An error of the machine: nothing is known of the source.
    infra: bool = False


Built = Compiled | Broken


@dataclass(frozen=True)
class State:
    """The source before a series (number 0), or after one of its patches."""

    number: int
    # By the choice of each cell that the tree allows.
    cells: Mapping[Choice, Built] = field(default_factory=dict)
    comments: Said = field(default_factory=Said)
    reports: Reports | None = None


@dataclass(frozen=True)
class Given:
    """What there is to judge a series by."""

    patches: Sequence[Patch]
    states: Sequence[State]
    checkpatch: Mapping[int, Outcome]
    commits: Commits
    # The text of a file of the tree in a state, by the state's number.
    text_of: Callable[[int, str], str]
    # CONFIG_FRAME_WARN; 0 if it is not known.
    frame_bound: int = 0


def judge(given: Given) -> tuple[PatchReport, ...]:
    """Return what all checks say of each patch."""
    return tuple(_patch(given, number) for number in range(1, len(given.patches) + 1))


def _patch(given: Given, number: int) -> PatchReport:
    patch, state = given.patches[number - 1], given.states[number]
    later = [change for one in given.patches[number:] for change in changes.of_patch(one)]
    onward = came_from.onward(later)
    outcomes = [_builds(given, number), *_compiled(given, number)]
    if state.reports is not None:
        outcomes.append(_cocci(given, number, state.reports))
    outcomes += [given.checkpatch[number], _comments(given, number), tags.check(patch, given.commits)]
    order = [one.id for one in CHECKS]
    placed = [
        replace(one, findings=tuple(_placed(finding, onward) for finding in one.findings)) for one in outcomes
    ]
    return PatchReport(
        number,
        patch.name,
        one_line(tag_of(patch.subject).bare),
        tuple(sorted(placed, key=lambda one: order.index(one.check))),
    )


def _placed(finding: Finding, onward: Origin) -> Finding:
    file, line = onward(finding.file, finding.line) if finding.line else (finding.file, 0)
    return replace(finding, final_line=line if file == finding.file else 0)


# -- which cell is compared with which -----------------------------------------------------------------
def counterpart(choice: Choice, known: Iterable[Choice]) -> Choice | None:
    """Return the cell before a patch that is as this one was: the same, or else one that differs only in axes
    that are n there, whose symbols the patch may have brought."""
    wanted = dict(choice)

    def distance(other: Choice) -> int | None:
        apart = [axis for axis, value in other if wanted.get(axis) != value]
        return len(apart) if all(dict(other)[axis] == "n" for axis in apart) else None

    near = [(apart, other) for other in known if (apart := distance(other)) is not None]
    return min(near, default=(0, None), key=lambda row: row[0])[1]


@dataclass(frozen=True)
class _Pair:
    """A cell after a patch, and what it is compared with."""

    choice: Choice
    after: Compiled
    before: Compiled
    # The number of the state before: the last one that compiles.
    since: int


def _pairs(given: Given, number: int) -> tuple[list[_Pair], list[str]]:
    """Return the cells that compile, each with what it is compared with, and why others are not compared."""
    found, left = [], []
    for choice, after in given.states[number].cells.items():
        if isinstance(after, Broken):
            left.append("it could not be compiled here" if after.infra else "it does not build")
            continue
        for since in range(number - 1, -1, -1):
            cells = given.states[since].cells
            other = counterpart(choice, cells)
            before = cells[other] if other is not None else None
            if isinstance(before, Compiled):
                found.append(_Pair(choice, after, before, since))
                break
        else:
            left.append("nothing before it builds")
    return found, left


def label(choice: Choice) -> str:
    """Return a cell as people read it: ``INDEX=y NOUUID=n kasan``."""
    return " ".join(value if axis == "flavour" else f"{axis}={value}" for axis, value in choice)


def _origin(given: Given, since: int, number: int) -> Origin:
    return came_from.through(
        [change for one in given.patches[since:number] for change in changes.of_patch(one)]
    )


# -- builds --------------------------------------------------------------------------------------------
def _builds(given: Given, number: int) -> Outcome:
    state, before = given.states[number], given.states[number - 1]
    if not state.cells:
        return Outcome(BUILDS.id, not_checked="no cell of it could be compiled")
    found: dict[Broken, list[str]] = {}
    old = machine = ""
    for choice, one in state.cells.items():
        if not isinstance(one, Broken):
            continue
        if one.infra:
            machine = machine or one.text
            continue
        other = counterpart(choice, before.cells)
        was = before.cells[other] if other is not None else None
        if isinstance(was, Broken) and not was.infra:
            old = old or f"it did not build before this patch either: {was.text}"
        else:
            found.setdefault(one, []).append(label(choice))
    findings = tuple(
        Finding(
            Level.ERROR, f"does not build: {one.text}", "", one.file, one.line, cells=_cells(cells, state)
        )
        for one, cells in found.items()
    )
    return Outcome(BUILDS.id, findings, not_checked=machine or ("" if findings else old))


def _cells(some: Sequence[str], state: State) -> tuple[str, ...]:
    """Return the labels of the cells that show a finding; none if all do."""
    return () if len(some) == len(state.cells) else tuple(some)


# -- what compiling says -------------------------------------------------------------------------------
def _compiled(given: Given, number: int) -> Iterable[Outcome]:
    pairs, left = _pairs(given, number)
    why = left[0] if left else ("" if given.states[number].cells else "no cell of it could be compiled")
    state = given.states[number]

    def outcome(
        check: Check, one: Callable[[_Pair], Iterable[Finding]], failed: Callable[[_Pair], str] = lambda _: ""
    ) -> Outcome:
        found: dict[Finding, list[str]] = {}
        not_checked = why
        left_out = next((pair.after.left_out for pair in pairs if pair.after.left_out), "")
        if left_out and check is not COMPILER:
            return Outcome(check.id, skipped=left_out)
        for pair in pairs:
            not_checked = not_checked or failed(pair)
            for finding in one(pair):
                found.setdefault(finding, []).append(label(pair.choice))
        order = list(Level)
        rows = [replace(finding, cells=_cells(cells, state)) for finding, cells in found.items()]
        return Outcome(check.id, tuple(sorted(rows, key=lambda row: order.index(row.level))), not_checked)

    def compiler(pair: _Pair) -> Iterable[Finding]:
        origin = _origin(given, pair.since, number)
        for one in compile_warnings.new(pair.before.warnings, pair.after.warnings, origin):
            yield Finding(Level.WARNING, one.text, one.flag, one.file, one.line)

    def of_sparse(pair: _Pair) -> Iterable[Finding]:
        return _new(pair.before.sparse.lines, pair.after.sparse.lines, _origin(given, pair.since, number))

    def of_includes(pair: _Pair) -> Iterable[Finding]:
        return _includes(given, pair, number)

    yield outcome(COMPILER, compiler)
    yield outcome(SPARSE, of_sparse, lambda pair: pair.after.sparse.failed or pair.before.sparse.failed)
    yield outcome(INCLUDES, of_includes)
    yield outcome(
        STACK,
        lambda pair: stack.compare(pair.before.frames, pair.after.frames, given.frame_bound),
        lambda pair: pair.after.frames.failed or pair.before.frames.failed,
    )
    yield outcome(SIZE, lambda pair: sizes.compare(pair.before.symbols, pair.after.symbols))
    yield outcome(
        EXPORTS,
        lambda pair: exports.compare(pair.before.exports, pair.after.exports),
        lambda pair: pair.after.exports.failed or pair.before.exports.failed,
    )


def _new(
    before: Iterable[CompileWarning], after: Iterable[CompileWarning], origin: Origin
) -> Iterable[Finding]:
    for one in compile_warnings.new(before, after, origin):
        level = Level.ERROR if one.flag.endswith("error") else Level.WARNING
        yield Finding(level, one.text, one.flag, one.file, one.line)


def _includes(given: Given, pair: _Pair, number: int) -> Iterable[Finding]:
    touched = {
        change.path: change
        for one in given.patches[pair.since : number]
        for change in changes.of_patch(one)
        if change.path.endswith(".c")
    }
    for path, headers in pair.after.headers.items():
        if change := touched.get(path):
            yield from includes.check(
                path,
                given.text_of(pair.since, change.old_path),
                given.text_of(number, path),
                headers,
                lambda name: given.text_of(number, name),
                [line for hunk in change.hunks for line in hunk.added],
            )


# -- text ----------------------------------------------------------------------------------------------
def _comments(given: Given, number: int) -> Outcome:
    before, after = given.states[number - 1].comments, given.states[number].comments
    own = changes.of_patch(given.patches[number - 1])
    if not any(name.endswith((".c", ".h")) for one in own for name in (one.path, one.old_path)):
        return Outcome(KERNEL_DOC.id, skipped="the patch changes no C source")
    findings = tuple(_new(before.lines, after.lines, came_from.through(own)))
    return Outcome(KERNEL_DOC.id, findings, not_checked=after.failed or before.failed)


def _cocci(given: Given, number: int, reports: Reports) -> Outcome:
    before = given.states[number - 1].reports or Reports()
    if why := reports.failed.get(ALL):
        return Outcome(COCCINELLE.id, not_checked=why)
    origin = came_from.through(changes.of_patch(given.patches[number - 1]))
    findings = [*_new(before.lines, reports.lines, origin)]
    fresh = {script: why for script, why in reports.failed.items() if script not in before.failed}
    if old := [script for script in reports.failed if script in before.failed]:
        text = (
            f"{count(len(old), 'semantic patch', 'semantic patches')} of the tree cannot be run, as before: "
        )
        findings.append(Finding(Level.NOTE, text + ", ".join(old[:4]), "coccicheck"))
    why = "; ".join(f"{script}: {said}" for script, said in list(fresh.items())[:4])
    if not why and 2 * len(reports.failed) > reports.scripts:
        # Then it is the tool, or how it is run, and not a few scripts that need more than it has.
        script, said = next(iter(reports.failed.items()))
        why = f"{len(reports.failed)} of {reports.scripts} semantic patches cannot be run: {script}: {said}"
    return Outcome(COCCINELLE.id, tuple(findings), not_checked=why)
