"""Choose what the page shows of a run, and build its records. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from kmodpipe.report import support, timeline, wording
from kmodpipe.report.html.failures import STATES, Files, failures, unfinished
from kmodpipe.report.html.records import (
    CasePart,
    CellPart,
    Close,
    Column,
    Defect,
    FailedCase,
    Field,
    Group,
    Page,
    Pairs,
    Row,
    Seen,
)
from kmodpipe.report.wording import Mark, count, mark, subject_of
from kmodpipe.results import CONTROL, ENDED_EARLY, OWN_MODULE, CaseInfo, CellResult, Run, State, exit_code
from kmodpipe.util.errors import ExitCode
from kmodpipe.util.text import one_line, some

# A matrix with more results or more cells shows signs without outcomes at first.
_DENSE_RESULTS, _DENSE_CELLS = 2500, 16
# Characters of an outcome in the matrix.
_WORD = 20
# Entries of a list.
_NAMES = 40


def page_of(run: Run, own: Files) -> Page:
    """Return everything that the template shows of *run*; *own* are the run's files."""
    columns = [c for c in run.cells if c.state is not State.SKIPPED]
    infos = {info.id: info for info in run.cases}
    anchors = {cell.cell: f"cell-{n}" for n, cell in enumerate(run.cells)}
    case_anchors = {info.id: f"case-{n}" for n, info in enumerate(run.cases)}
    failed, hidden = failures(run, infos, own)
    rows = _rows(run, columns, _evidence_links(run, failed, anchors), case_anchors)
    counts = dict.fromkeys((m.key for m in wording.MARKS), 0)
    for row in rows:
        for found in row.results:
            counts[found.key] = counts.get(found.key, 0) + 1
    picture = timeline.draw(run.timeline)
    undone, defects = unfinished(run, anchors, own), _defects(run, infos)
    skipped = _skipped(run)
    close = _close(run, case_anchors, anchors)
    sections = (
        ("verdict", "Verdict", True),
        ("matrix", "Matrix", True),
        ("failures", "What went wrong", failed or undone),
        ("defects", "Known defects", defects),
        ("skipped", "Skipped cells", skipped),
        ("close", "Close to the limit", close),
        ("time", "Time", picture),
        ("cases", "Cases", True),
        ("cells", "Cells", True),
        ("provenance", "Provenance", True),
    )
    return Page(
        title=_title(run),
        subtitle=_subtitle(run),
        early=ENDED_EARLY in run.properties,
        state=_state(run),
        total=wording.total(run),
        parts=tuple((anchor, name) for anchor, name, there in sections if there),
        verdicts=wording.verdicts(run),
        control=tuple(f"{one_line(r.case)} ({one_line(c.cell)})" for c, r in wording.control_failures(run)),
        axes=run.dead_axes,
        empty=wording.empty(run),
        groups=tuple(Group(name, n) for name, n in Counter(subject_of(c) for c in _grouped(columns)).items()),
        columns=tuple(Column(c.cell, subject_of(c), _label(c), anchors[c.cell]) for c in _grouped(columns)),
        rows=rows,
        dense=len(columns) > _DENSE_CELLS or len(columns) * len(rows) > _DENSE_RESULTS,
        counts=counts,
        failures=failed,
        hidden_failures=hidden,
        unfinished=undone,
        defects=defects,
        skipped=skipped,
        close=close[:_NAMES],
        hidden_close=len(close[_NAMES:]),
        picture=picture,
        cases=tuple(_case_part(run, info, case_anchors[info.id]) for info in run.cases),
        cells=tuple(_cell_part(c, anchors[c.cell], own) for c in run.cells),
        properties=tuple(run.properties.items()),
        files=tuple(
            (name, own.href(name)) for name in ("results.json", "junit.xml", "events.jsonl", "shared")
        ),
        support=support.rows(run) if OWN_MODULE in run.properties else (),
        cover=own.href("cover.html") if own.tail("cover.json") else "",
        footer=f"kmodpipe {run.properties.get('kmodpipe', '')}, run {run.id}",
    )


def _evidence_links(
    run: Run, failed: Sequence[FailedCase], anchors: Mapping[str, str]
) -> dict[tuple[str, str], str]:
    """Return the anchor of a result's evidence by cell and case: its failure, or why its cell did not run."""
    links = {
        (cell.cell, info.id): f"{anchors[cell.cell]}-why"
        for cell in run.cells
        if cell.state not in (State.RAN, State.SKIPPED)
        for info in run.cases
    }
    return links | {(item.cell, item.case): item.anchor for case in failed for item in case.items}


def _grouped(cells: Sequence[CellResult]) -> list[CellResult]:
    """Return the cells with those of one variant on one kernel side by side."""
    order = list(dict.fromkeys(subject_of(c) for c in cells))
    return sorted(cells, key=lambda c: order.index(subject_of(c)))


def _title(run: Run) -> str:
    series = [v for v in dict.fromkeys(c.variant for c in run.cells) if v != CONTROL]
    return f"kmodpipe: {some(series, 4) or 'the unpatched tree'}"


def _subtitle(run: Run) -> str:
    until = f" until {run.finished}" if run.finished else ", not finished"
    cells = sum(c.state is State.RAN for c in run.cells)
    return (
        f"{wording.tree(run)}. Run {run.id}, {run.started}{until}. "
        f"{count(cells, 'cell')} ran, {count(len(run.cases), 'case')}."
    )


def _state(run: Run) -> Mark:
    return {ExitCode.OK: wording.PASS, ExitCode.FAILURE: wording.FAIL}.get(exit_code(run), wording.ERROR)


def _label(cell: CellResult) -> str:
    """Return what distinguishes a cell from others of its variant, one property a line."""
    parts = [f"{axis}={value}" for axis, value in cell.choice.items()]
    return "\n".join([*parts, *([cell.flavour] if cell.flavour else [])]) or cell.cell


def _rows(
    run: Run,
    columns: Sequence[CellResult],
    links: Mapping[tuple[str, str], str],
    anchors: Mapping[str, str],
) -> tuple[Row, ...]:
    """Return the rows of the matrix; *links* is by cell and case, *anchors* by case."""
    ordered = _grouped(columns)
    found = [{r.case: r for r in cell.cases} for cell in ordered]
    rows = []
    for info in run.cases:
        fields = []
        for cell, own in zip(ordered, found, strict=True):
            result = own.get(info.id)
            if result is None:
                fields.append(Field("error", "?", "", "no result", ""))
                continue
            its, word = mark(result), one_line(result.word)
            word = word if len(word) <= _WORD else word[: _WORD - 1] + "…"
            link = links.get((cell.cell, info.id), "")
            fields.append(Field(its.key, its.sign, word, its.word, link))
        rows.append(Row(info.id, anchors[info.id], f"{info.id} {one_line(info.summary)}", tuple(fields)))
    return tuple(rows)


def _defects(run: Run, infos: Mapping[str, CaseInfo]) -> tuple[Defect, ...]:
    """Return the known defects, grouped by outcome and reason."""
    groups: dict[tuple[str, str, str], list[str]] = {}
    for cell, result in run.results():
        if result.known_defect:
            groups.setdefault((result.case, result.word, result.reason), []).append(cell.cell)
    made = []
    for (case, word, reason), cells in groups.items():
        info = infos.get(case)
        summary, goal = (info.summary, info.goal) if info else ("", "")
        made.append(Defect(case, summary, goal, word, reason, some(cells, _NAMES)))
    return tuple(made)


def _skipped(run: Run) -> Pairs:
    """Return the reasons for skipped cells, each with its cells."""
    groups: dict[str, list[str]] = {}
    for cell in run.cells:
        if cell.state is State.SKIPPED:
            groups.setdefault(cell.reason.strip() or "no reason was recorded", []).append(cell.cell)
    return tuple((reason, some(cells, _NAMES)) for reason, cells in groups.items())


def _close(run: Run, cases: Mapping[str, str], cells: Mapping[str, str]) -> tuple[Close, ...]:
    """Return the results that are as expected but were close to their time limit, the closest first.

    *cases* and *cells* map ids to anchors.
    """
    bad = {(cell.cell, result.case) for cell, result in wording.wrong(run)}
    found = [(c, r) for c, r in run.results() if wording.close(r) and (c.cell, r.case) not in bad]
    return tuple(
        Close(
            r.case,
            cases.get(r.case, ""),
            c.cell,
            cells[c.cell],
            f"{r.duration_s:.1f} s",
            f"{r.limit_used:.0%}",
        )
        for c, r in sorted(found, key=lambda pair: -pair[1].limit_used)
    )


def _case_part(run: Run, info: CaseInfo, anchor: str) -> CasePart:
    """Return the section about a case: its outcomes, the worst first, each with the cells that show it."""
    groups: dict[tuple[str, str, str], list[str]] = {}
    marks = {m.key: m for m in wording.MARKS}
    for cell in run.cells:
        result = cell.case(info.id) if cell.state is not State.SKIPPED else None
        if result:
            groups.setdefault((mark(result).key, result.word, result.reason), []).append(cell.cell)
    seen = tuple(
        Seen(marks[key], one_line(word), some(cells, _NAMES), reason)
        for (key, word, reason), cells in sorted(groups.items(), key=lambda g: list(marks).index(g[0][0]))
    )
    return CasePart(info.id, anchor, info.summary, info.goal, info.digest, seen)


def _cell_part(cell: CellResult, anchor: str, files: Files) -> CellPart:
    own = {
        "variant": cell.variant,
        "design": cell.design,
        "kernel": cell.kernel,
        **cell.choice,
        "flavour": cell.flavour,
        "state": cell.state.value,
        "reason": cell.reason.split("\n", 1)[0],
        **cell.properties,
    }
    state = _cell_mark(cell)
    return CellPart(cell.cell, anchor, state, tuple((k, v) for k, v in own.items() if v), files.links(cell))


def _cell_mark(cell: CellResult) -> Mark:
    """Return the worst mark of a cell's results; if it did not run, that of its state."""
    if cell.state is not State.RAN:
        return STATES[cell.state]
    keys = {mark(r).key for r in cell.cases}
    return next((m for m in (wording.FAIL, wording.FLAKY, wording.ERROR) if m.key in keys), wording.PASS)
