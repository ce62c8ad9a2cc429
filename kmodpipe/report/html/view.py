"""Choose what the page shows of a run, and build its records. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from kmodpipe.report import answer, difference, history, new_warnings, support, timeline, wording
from kmodpipe.report.html import first, folded, patches, provenance
from kmodpipe.report.html.anchors import Names, Pairs
from kmodpipe.report.html.failures import (
    MOST_CARD_CELLS,
    MOST_CARD_CELLS_FOLDED,
    MOST_FAILURES,
    MOST_FAILURES_FOLDED,
    STATES,
    Beside,
    Files,
    cards,
    unfinished,
)
from kmodpipe.report.html.records import (
    Card,
    CasePart,
    CellPart,
    Close,
    Column,
    Defect,
    Field,
    Group,
    Page,
    Past,
    Row,
    Seen,
    Unfinished,
    Unsteady,
)
from kmodpipe.report.wording import Mark, count, mark, subject_of
from kmodpipe.results import (
    CHECKED,
    CONTROL,
    ENDED_EARLY,
    OWN_MODULE,
    CaseInfo,
    CellResult,
    Controls,
    EffectKind,
    Run,
    State,
    effects,
    exit_code,
    is_fixed,
)
from kmodpipe.results.cover_answer import Answer as CoverAnswer
from kmodpipe.util.errors import ExitCode
from kmodpipe.util.text import one_line, some

# A matrix with more results or more cells shows signs without outcomes at first.
_DENSE_RESULTS, _DENSE_CELLS = 2500, 16
# Characters of an outcome in the matrix.
_WORD = 20
# Entries of a list.
_NAMES = 40
MOST_UNFINISHED = 300
"""The most reasons why cells did not run that the page has."""
# New warnings of the compiler; all are in results.json.
_WARNINGS = 200
_UNSTEADY = 40


def page_of(
    run: Run, own: Files, past: Sequence[history.Past] = (), covered: CoverAnswer | None = None
) -> Page:
    """Return everything that the template shows of *run*; *own* are the run's files, *past* the runs before
    it, *covered* is what its cases execute of the series."""
    columns = [c for c in run.cells if c.state is not State.SKIPPED]
    infos = {info.id: info for info in run.cases}
    named = Names("cell"), Names("case")
    anchors = {cell.cell: named[0].of(cell.cell) for cell in run.cells}
    case_anchors = {info.id: named[1].of(info.id) for info in run.cases}
    large = folded.needed(len(columns), len(run.cases))
    # The cells of a run of `check` are the patches.
    its_patches = patches.Patches(()) if CHECKED in run.properties else patches.of_run(run, covered)
    changes = _changes(run)
    beside = Beside(
        changes,
        anchors,
        Controls(run),
        MOST_CARD_CELLS_FOLDED if large else MOST_CARD_CELLS,
        lambda cell, case: history.of_case(past, run, cell, case),
        lambda cell, case: its_patches.touched.get((cell, case), ()),
    )
    made, hidden = cards(run, infos, own, beside, MOST_FAILURES_FOLDED if large else MOST_FAILURES)
    all_undone, defects = unfinished(run, anchors, own), _defects(run, infos)
    undone = all_undone[:MOST_UNFINISHED]
    counts = dict.fromkeys((m.key for m in wording.MARKS), 0)
    links = _evidence_links(run, made, undone)
    rows = _counted(_rows(run, columns, links, case_anchors, changes), counts)
    heads = tuple(Column(c.cell, subject_of(c), _label(c), anchors[c.cell]) for c in _grouped(columns))
    cells = tuple(_cell_part(c, anchors[c.cell], own) for c in run.cells)
    matrix = folded.fold(heads, rows, cells) if large else None
    shown_rows = () if matrix else tuple(rows)
    picture = timeline.draw(run.timeline)
    skipped, found_warnings = _skipped(run), new_warnings.of_run(run)
    close, earlier = _close(run, case_anchors, anchors), _past(past, run, own)
    cell, cell_names, case, case_names = wording.units(run)
    its_answer, differences = answer.of_run(run), difference.of_run(run)
    compared = any(one.changed or not one.alone for one in differences)
    sections = (
        ("difference", "What changed", differences),
        ("failures", "What went wrong", made or undone),
        ("defects", "Known issues", defects),
        ("matrix", "Full matrix", True),
        ("skipped", "Ruled out", skipped),
        ("close", "Close to the limit", close),
        ("patches", "Patches", its_patches.parts),
        ("history", "History", earlier),
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
        caveat=its_answer.caveat,
        sentence=replace(its_answer, caveat="").text(),
        subtitle=_subtitle(run),
        early=ENDED_EARLY in run.properties,
        state=_state(run),
        icon=first.icon(_state(run)),
        total=wording.total(run),
        tiles=first.tiles(run, differences, counts),
        troubles=first.troubles(run, made, undone, anchors),
        parts=tuple((anchor, name) for anchor, name, there in sections if there),
        verdicts=wording.verdicts(run),
        differences=differences,
        control=tuple(f"{one_line(r.case)} ({one_line(c.cell)})" for c, r in wording.control_failures(run)),
        axes=run.dead_axes,
        new_warnings=new_warnings.sentence(found_warnings),
        warnings=tuple((str(one.warning), some(one.cells, 4)) for one in found_warnings[:_WARNINGS]),
        empty=wording.empty(run),
        groups=tuple(Group(name, n) for name, n in Counter(subject_of(c) for c in _grouped(columns)).items()),
        columns=() if matrix else heads,
        rows=shown_rows,
        dense=len(columns) > _DENSE_CELLS or len(columns) * len(run.cases) > _DENSE_RESULTS,
        matrix_open=not compared,
        counts=counts,
        cards=made,
        hidden_cards=hidden,
        evidence={one: card.anchor for card in made for one in card.results},
        unfinished=undone,
        hidden_unfinished=sum(len(one.ids) for one in all_undone[MOST_UNFINISHED:]),
        defects=defects,
        skipped=skipped,
        close=close[:_NAMES],
        hidden_close=len(close[_NAMES:]),
        picture=picture,
        past=earlier,
        patches=its_patches,
        cases=_case_parts(run, case_anchors, its_patches),
        cells=() if matrix else cells,
        folded=matrix,
        provenance=provenance.groups(run.properties),
        files=tuple(
            (name, own.href(name)) for name in ("results.json", "junit.xml", "events.jsonl", "shared")
        ),
        support=support.rows(run) if OWN_MODULE in run.properties else (),
        cover=own.href("cover.html") if covered else "",
        footer=f"kmodpipe {run.properties.get('kmodpipe', '')}, run {run.id}",
    )


def _changes(run: Run) -> dict[tuple[str, str], Mark]:
    """Return what a series changed, by cell and case."""
    shown = (EffectKind.REGRESSED, EffectKind.FIXED, EffectKind.KNOWN_DEFECT)
    return {
        (cell, effect.case): wording.CHANGES[effect.kind]
        for effect in effects(run)
        if effect.kind in shown
        for cell in effect.cells
    }


def _past(past: Sequence[history.Past], run: Run, own: Files) -> Past | None:
    runs = history.of_runs(past, run)
    if runs is None:
        return None
    found = history.unsteady(past, run)
    strips = ((cell, case, history.of_case(past, run, cell, case)) for cell, case in found[:_UNSTEADY])
    return Past(
        runs,
        {one.id: own.href(f"../{one.id}/report.html") for one in past},
        tuple(Unsteady(case, cell, strip) for cell, case, strip in strips if strip),
        len(found[_UNSTEADY:]),
    )


def _counted(rows: Iterable[Row], counts: dict[str, int]) -> Iterator[Row]:
    """Yield the rows, and count their results by `Mark.key`."""
    for row in rows:
        for found in row.results:
            counts[found.key] = counts.get(found.key, 0) + 1
        yield row


def _evidence_links(
    run: Run, made: Sequence[Card], undone: Sequence[Unfinished]
) -> dict[tuple[str, str], str]:
    """Return the anchor of a result's evidence by cell and case: its failure, or why its cell did not run."""
    links = {(cell, info.id): one.anchor for one in undone for cell in one.ids for info in run.cases}
    return links | {one: card.anchor for card in made for one in card.results}


def _grouped(cells: Sequence[CellResult]) -> list[CellResult]:
    """Return the cells with those of one variant on one kernel side by side."""
    order = list(dict.fromkeys(subject_of(c) for c in cells))
    return sorted(cells, key=lambda c: order.index(subject_of(c)))


def _title(run: Run) -> str:
    series = [v for v in dict.fromkeys(c.variant for c in run.cells) if v != CONTROL]
    return f"kmodpipe: {some(series, 4) or 'the unpatched tree'}"


def _subtitle(run: Run) -> str:
    ran, out = sum(c.state is State.RAN for c in run.cells), len(wording.ruled_out(run))
    cell, several, case, _ = wording.units(run)
    left = f", {out:,} ruled out" if out else ""
    took = history.between(run.started, run.finished)
    when = f"{_moment(run.started)}, {f'took {_took(took)}' if run.finished else 'not finished'}"
    return (
        f"{wording.tree(run)}. {count(ran, cell, several)} ran{left}, {count(len(run.cases), case)}. "
        f"Run {run.id}, {when}."
    )


def _took(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if 0 < minutes < 60 else timeline.clock(round(seconds))


def _moment(text: str) -> str:
    """Return ``2026-11-28 19:23 UTC``; what is no moment as it is."""
    try:
        return f"{datetime.fromisoformat(text).astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    except (ValueError, OverflowError):
        return text


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
    changes: Mapping[tuple[str, str], Mark],
) -> Iterator[Row]:
    """Yield the rows of the matrix; *links* and *changes* are by cell and case, *anchors* by case."""
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
            change = changes.get((cell.cell, info.id))
            meaning = f"{change.name}, {its.word}" if change and change.key != "known" else its.word
            fields.append(Field(its.key, its.sign, word, meaning, link, change.key if change else ""))
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
        made.append(Defect(case, summary, goal, word, reason, some(cells, _NAMES), len(cells)))
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


def _case_parts(run: Run, anchors: Mapping[str, str], its: patches.Patches) -> tuple[CasePart, ...]:
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
        touched = its.by_case.get(info.id, ())
        parts.append(CasePart(info.id, anchors[info.id], info.summary, info.goal, info.digest, seen, touched))
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
    if is_fixed(cell):
        return wording.UNMET
    if cell.state is not State.RAN:
        return STATES[cell.state]
    keys = {mark(r).key for r in cell.cases}
    return next((m for m in (wording.FAIL, wording.FLAKY, wording.ERROR) if m.key in keys), wording.PASS)
