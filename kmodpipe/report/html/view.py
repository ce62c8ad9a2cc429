"""Choose what the page shows of a run, and build its records. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

from kmodpipe.report import new_warnings, support, timeline, wording
from kmodpipe.report.html import folded
from kmodpipe.report.html.failures import (
    MOST_FAILURES,
    MOST_FAILURES_FOLDED,
    STATES,
    Files,
    failures,
    unfinished,
)
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
    Unfinished,
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
MOST_UNFINISHED = 300
"""The most cells that did not run of which the page says why."""
# New warnings of the compiler; all are in results.json.
_WARNINGS = 200


def page_of(run: Run, own: Files) -> Page:
    """Return everything that the template shows of *run*; *own* are the run's files."""
    columns = [c for c in run.cells if c.state is not State.SKIPPED]
    infos = {info.id: info for info in run.cases}
    anchors = {cell.cell: f"cell-{n}" for n, cell in enumerate(run.cells)}
    case_anchors = {info.id: f"case-{n}" for n, info in enumerate(run.cases)}
    large = folded.needed(len(columns), len(run.cases))
    failed, hidden = failures(run, infos, own, MOST_FAILURES_FOLDED if large else MOST_FAILURES)
    undone, defects = unfinished(run, anchors, own), _defects(run, infos)
    counts = dict.fromkeys((m.key for m in wording.MARKS), 0)
    links = _evidence_links(run, failed, undone, anchors)
    rows = _counted(_rows(run, columns, links, case_anchors), counts)
    heads = tuple(Column(c.cell, subject_of(c), _label(c), anchors[c.cell]) for c in _grouped(columns))
    cells = tuple(_cell_part(c, anchors[c.cell], own) for c in run.cells)
    matrix = folded.fold(heads, rows, cells) if large else None
    picture = timeline.draw(run.timeline)
    skipped, found_warnings = _skipped(run), new_warnings.of_run(run)
    close = _close(run, case_anchors, anchors)
    cell, cell_names, case, case_names = wording.units(run)
    sections = (
        ("verdict", "Verdict", True),
        ("matrix", "Matrix", True),
        ("failures", "What went wrong", failed or undone),
        ("defects", "Known defects", defects),
        ("skipped", "Skipped cells", skipped),
        ("close", "Close to the limit", close),
        ("time", "Time", picture),
        ("cases", case_names.capitalize(), True),
        ("cells", cell_names.capitalize(), True),
        ("provenance", "Provenance", True),
    )
    return Page(
        title=_title(run),
        cell=cell,
        cell_names=cell_names,
        case=case,
        case_names=case_names,
        subtitle=_subtitle(run),
        early=ENDED_EARLY in run.properties,
        state=_state(run),
        total=wording.total(run),
        parts=tuple((anchor, name) for anchor, name, there in sections if there),
        verdicts=wording.verdicts(run),
        control=tuple(f"{one_line(r.case)} ({one_line(c.cell)})" for c, r in wording.control_failures(run)),
        axes=run.dead_axes,
        new_warnings=new_warnings.sentence(found_warnings),
        warnings=tuple((str(one.warning), some(one.cells, 4)) for one in found_warnings[:_WARNINGS]),
        empty=wording.empty(run),
        groups=tuple(Group(name, n) for name, n in Counter(subject_of(c) for c in _grouped(columns)).items()),
        columns=() if matrix else heads,
        rows=tuple(rows),
        dense=len(columns) > _DENSE_CELLS or len(columns) * len(run.cases) > _DENSE_RESULTS,
        counts=counts,
        failures=failed,
        hidden_failures=hidden,
        unfinished=undone[:MOST_UNFINISHED],
        hidden_unfinished=len(undone[MOST_UNFINISHED:]),
        defects=defects,
        skipped=skipped,
        close=close[:_NAMES],
        hidden_close=len(close[_NAMES:]),
        picture=picture,
        cases=_case_parts(run, case_anchors),
        cells=() if matrix else cells,
        folded=matrix,
        properties=tuple(run.properties.items()),
        files=tuple(
            (name, own.href(name)) for name in ("results.json", "junit.xml", "events.jsonl", "shared")
        ),
        support=support.rows(run) if OWN_MODULE in run.properties else (),
        cover=own.href("cover.html") if own.tail("cover.json") else "",
        footer=f"kmodpipe {run.properties.get('kmodpipe', '')}, run {run.id}",
    )


def _counted(rows: Iterable[Row], counts: dict[str, int]) -> Iterator[Row]:
    """Yield the rows, and count their results by `Mark.key`."""
    for row in rows:
        for found in row.results:
            counts[found.key] = counts.get(found.key, 0) + 1
        yield row


def _evidence_links(
    run: Run, failed: Sequence[FailedCase], undone: Sequence[Unfinished], anchors: Mapping[str, str]
) -> dict[tuple[str, str], str]:
    """Return the anchor of a result's evidence by cell and case: its failure, or why its cell did not run."""
    links = {
        (one.cell, info.id): f"{anchors[one.cell]}-why"
        for one in undone[:MOST_UNFINISHED]
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
    cell, several, case, _ = wording.units(run)
    return (
        f"{wording.tree(run)}. Run {run.id}, {run.started}{until}. "
        f"{count(cells, cell, several)} ran, {count(len(run.cases), case)}."
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
) -> Iterator[Row]:
    """Yield the rows of the matrix; *links* is by cell and case, *anchors* by case."""
    ordered = _grouped(columns)
    found = [{r.case: r for r in cell.cases} for cell in ordered]
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
        yield Row(info.id, anchors[info.id], f"{info.id} {one_line(info.summary)}", tuple(fields))


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


def _case_parts(run: Run, anchors: Mapping[str, str]) -> tuple[CasePart, ...]:
    """Return the sections about the cases: outcomes, the worst first, each with the cells that show it."""
    groups: dict[str, dict[tuple[str, str, str], list[str]]] = {info.id: {} for info in run.cases}
    marks = {m.key: m for m in wording.MARKS}
    rank = {key: n for n, key in enumerate(marks)}
    for cell in run.cells:
        for result in cell.cases if cell.state is not State.SKIPPED else ():
            key = (mark(result).key, result.word, result.reason)
            groups[result.case].setdefault(key, []).append(cell.cell)
    parts = []
    for info in run.cases:
        seen = tuple(
            Seen(marks[key], one_line(word), some(cells, _NAMES), reason)
            for (key, word, reason), cells in sorted(groups[info.id].items(), key=lambda g: rank[g[0][0]])
        )
        parts.append(CasePart(info.id, anchors[info.id], info.summary, info.goal, info.digest, seen))
    return tuple(parts)


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
