"""Summarize a run, or a comparison of two runs, as blocks of text. Pure.

Everything is bounded: a change that many cells show is one row, and long lists name the first entries and
count the rest.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from kmodpipe.report import alike, answer, new_warnings, rerun, wording
from kmodpipe.report.alike import Failure
from kmodpipe.report.compare import Change, Comparison, Difference
from kmodpipe.report.markup import (
    Block,
    Code,
    Command,
    Fold,
    Items,
    Paragraph,
    Quote,
    Table,
    Text,
    Title,
    listed,
)
from kmodpipe.report.wording import SeriesVerdict, count, sentence
from kmodpipe.results import (
    CONTROL,
    CaseResult,
    CellResult,
    Effect,
    EffectKind,
    Run,
    State,
    effects,
    exit_code,
    is_fixed,
)  # fmt: skip
from kmodpipe.util.errors import ExitCode

_ROWS, _CELLS, _COMMANDS, _EVIDENCE_LINES = 40, 4, 5, 12
_NOT_RUN = "not run"
_SHOWN_EFFECTS = (EffectKind.REGRESSED, EffectKind.FIXED, EffectKind.KNOWN_DEFECT)


# -- a run --------------------------------------------------------------------------------------------
def title(run: Run) -> Title:
    """Return the title: ``✗ kmodpipe: index-nouuid on Linux 5.10.223``."""
    series = [v for v in dict.fromkeys(c.variant for c in run.cells) if v != CONTROL]
    kernel = wording.versions(run)
    of = listed(series, 4) if series else ("the unpatched tree",)
    return Title((f"{_sign(run)} kmodpipe: ", *of, *((" on Linux ", Code(kernel)) if kernel else ())))


def _ended_early(run: Run) -> Text:
    reason = wording.ended_early(run)
    return ("; the run ended early: ", Code(reason)) if reason else ()


def _sign(run: Run) -> str:
    return {ExitCode.OK: "✓", ExitCode.FAILURE: "✗"}.get(exit_code(run), "!")


def of_run(run: Run, *, evidence: bool = True) -> list[Block]:
    """Return the answer, what each series changed, and with *evidence* what is not as expected."""
    blocks: list[Block] = [
        Paragraph(answer.of_run(run).parts()),
        Paragraph((wording.counted(run), *_ended_early(run), ".")),
    ]
    if table := effect_table(run):
        blocks.append(table)
    blocks += [Paragraph(verdict_text(v)) for v in wording.verdicts(run)]
    if bad := wording.control_failures(run):
        named = listed(dict.fromkeys(r.case for _, r in bad))
        blocks.append(
            Paragraph(
                (f"The unpatched tree is not as expected in {count(len(bad), 'result')} (", *named,
                 "): comparisons with it say less.")
            )
        )  # fmt: skip
    blocks += [Paragraph((Code(dead.message), ".")) for dead in run.dead_axes if dead.failure]
    blocks += compiler_warnings(run)
    blocks += not_judged(run)
    return blocks + (failures(run) if evidence else [])


def compiler_warnings(run: Run, variant: str = "") -> list[Block]:
    """Return the compiler's warnings that a series brings, or each series; nothing if there is none."""
    found = [one for one in new_warnings.of_run(run) if variant in ("", one.variant)]
    if not found:
        return []
    rows: list[tuple[Text, ...]] = [
        ((Code(str(one.warning)),), (Code(one.variant),), (str(len(one.cells)),)) for one in found
    ]
    table = Table(("warning", "series", "cells"), tuple(_bounded(rows, _ROWS)))
    return [Paragraph((f"The compiler has {new_warnings.sentence(found)}.",)), table]


def not_judged(run: Run) -> list[Block]:
    """Return a paragraph for the run or each series of which no case was judged."""
    return [Paragraph(("Nothing is proved: ", Code(text), ".")) for text in wording.empty(run)]


def verdict_text(verdict: SeriesVerdict, most: int = 8) -> Text:
    """Return the verdict on a series as a paragraph, with the first *most* names of each statement."""
    parts: list[str | Code] = [Code(verdict.variant), f"{verdict.place} "]
    for number, statement in enumerate(verdict.statements):
        parts.append(("; " if number else "") + statement.lead)
        if statement.cases and not statement.quiet:
            parts += [" (", *listed([str(n) for n in statement.cases], most), ")"]
    return (*parts, ".")


def effect_table(run: Run) -> Table | None:
    """Return a table of what all series changed, one row a case and change; None if nothing changed."""
    several = len({wording.subject_of(c) for c in run.cells}) > 2
    rows: list[tuple[Text, ...]] = []
    for effect in effects(run):
        if effect.kind in _SHOWN_EFFECTS and not _is_no_fix(effect):
            row: tuple[Text, ...] = (
                (Code(effect.case),),
                (wording.CHANGES[effect.kind].name,),
                (Code(effect.before or _NOT_RUN),),
                (Code(effect.after),),
                (str(len(effect.cells)),),
            )
            rows.append(((Code(wording.subject_of(effect)),), *row) if several else row)
    if not rows:
        return None
    head = ("case", "change", "unpatched", "patched", "cells")
    rows = _bounded(rows, _ROWS)
    return Table(("series", *head) if several else head, tuple(rows))


def _is_no_fix(effect: Effect) -> bool:
    """Return whether it works, and was expected to fail: that is among what is not as expected."""
    return effect.unexpected and effect.kind is EffectKind.FIXED


def effect_tables(run: Run, variant: str) -> list[Block]:
    """Return what one series changed, a table for each kind of change, narrow enough for a mail."""
    made: list[Block] = []
    for kind in _SHOWN_EFFECTS:
        rows: list[tuple[Text, ...]] = [
            ((Code(e.case),), (Code(e.before or _NOT_RUN),), (Code(e.after),), (str(len(e.cells)),))
            for e in effects(run)
            if e.kind is kind and e.variant == variant and not _is_no_fix(e)
        ]
        if rows:
            table = Table(("case", "unpatched", "patched", "cells"), tuple(_bounded(rows, _ROWS)))
            made += [Title((wording.CHANGES[kind].name,)), table]
    return made


def _bounded(rows: list[tuple[Text, ...]], most: int) -> list[tuple[Text, ...]]:
    """Return the first *most* rows, and one that counts the others."""
    if len(rows) <= most:
        return rows
    more: Text = (f"… and {len(rows) - most} more",)
    return [*rows[:most], (more, *((),) * (len(rows[0]) - 1))]


def failures(run: Run, variants: Sequence[str] = ()) -> list[Block]:
    """Return what is not as expected: the cells that did not run, then failures and errors case by case.

    Alike failures of a case are shown once, with all their cells, the command that repeats the first, and its
    evidence. *variants* limits it to their cells.
    """
    cells = [c for c in run.cells if not variants or c.variant in variants]
    blocks = _unfinished(run, cells)
    groups = alike.groups(run, variants)
    for found in groups[:_COMMANDS]:
        blocks += _failure(run, found)
    rest = groups[_COMMANDS:]
    if rest:
        firsts = [found[0][1] for found in rest[:_ROWS]]
        lines: list[Text] = [(Code(r.case), ": ", Code(sentence(r))) for r in firsts]
        if len(rest) > _ROWS:
            lines.append((f"and {len(rest) - _ROWS} more",))
        blocks.append(Fold((f"{len(rest)} more are not as expected",), (Items(tuple(lines)),)))
    return blocks


def _unfinished(run: Run, cells: Sequence[CellResult]) -> list[Block]:
    """Return the cells that should have run and did not, grouped by reason."""
    groups: dict[tuple[State, str], list[CellResult]] = {}
    for cell in cells:
        if cell.state not in (State.RAN, State.SKIPPED) and not is_fixed(cell):
            first = (cell.reason.strip() or "no reason was recorded").split("\n", 1)[0]
            groups.setdefault((cell.state, first), []).append(cell)
    blocks: list[Block] = []
    for (state, reason), own in list(groups.items())[:_COMMANDS]:
        where = listed([c.cell for c in own], _CELLS)
        blocks += [
            Paragraph((*where, ": " if reason == state.value else f": {state.value}: ", Code(reason))),
            Command(rerun.command(run, own[0])),
        ]
    hidden = sum(map(len, list(groups.values())[_COMMANDS:]))
    return [*blocks, Paragraph((f"{count(hidden, 'more cell')} did not run.",))] if hidden else blocks


def _failure(run: Run, found: Sequence[Failure]) -> list[Block]:
    """Return the blocks about alike failures; command and evidence are those of the first."""
    cell, result = found[0]
    info = next((i for i in run.cases if i.id == result.case), None)
    where = listed([c.cell for c, _ in found], _CELLS)
    mark = wording.mark(result)
    blocks: list[Block] = [
        Paragraph((f"{mark.sign} ", Code(result.case), " in ", *where, ": ", Code(sentence(result)))),
        Command(rerun.command(run, cell, info)),
    ]
    lines = result.evidence.strip().splitlines()
    if lines:
        hidden = len(lines) - _EVIDENCE_LINES
        more = [f"… {count(hidden, 'more line')}"] if hidden > 0 else []
        quote = Quote("\n".join([*lines[:_EVIDENCE_LINES], *more]))
        blocks.append(Fold(("Evidence of ", Code(result.case), " in ", Code(cell.cell)), (quote,)))
    return blocks


def provenance(run: Run) -> Fold:
    """Return the run's properties as a folded table."""
    rows = tuple(((Code(name),), (Code(value),)) for name, value in run.properties.items())
    return Fold(("Provenance",), (Table(("what", "value"), rows),))


def matrix(run: Run, most: int = 1500) -> Fold | None:
    """Return a folded table, cases by row and cells by column; None for a run that is too large for one."""
    cells = [c for c in run.cells if c.state is not State.SKIPPED]
    if not cells or not run.cases or len(cells) > 12 or len(cells) * len(run.cases) > most:
        return None
    rows: list[tuple[Text, ...]] = []
    for info in run.cases:
        row: list[Text] = [(Code(info.id),)]
        for cell in cells:
            result = cell.case(info.id)
            row.append((f"{wording.mark(result).sign} ", Code(result.word)) if result else ("?",))
        rows.append(tuple(row))
    head = ("case", *(f"{n}" for n in range(1, len(cells) + 1)))
    legend = Items(tuple((f"{n}: ", Code(c.cell)) for n, c in enumerate(cells, 1)))
    return Fold(("Every case in every cell",), (Table(head, tuple(rows)), legend))


# -- a comparison -------------------------------------------------------------------------------------
_SECTIONS = (
    (Change.NEWLY_FAILING, "Newly failing"),
    (Change.NEWLY_FLAKY, "Newly flaky"),
    (Change.LOST, "Verdict lost"),
    (Change.NEWLY_SKIPPED, "Newly skipped"),
    (Change.CHANGED, "Another outcome, the same verdict"),
    (Change.NEWLY_PASSING, "Newly passing"),
    (Change.REGAINED, "With a verdict again"),
)

_OPEN = (Change.NEWLY_FAILING, Change.NEWLY_FLAKY, Change.LOST)
"""The sections that are never folded."""


def of_comparison(found: Comparison, run: Run, *, evidence: bool = True) -> list[Block]:
    """Return what changed, and with *evidence* that of the new failures. *run* is the newer run."""
    blocks: list[Block] = [Paragraph(headline(found))]
    if found.note:
        blocks.append(Paragraph((Code(found.note), ".")))
    for change, heading in _SECTIONS:
        own = found.of(change)
        if not own:
            continue
        section: Text = (f"{heading}: {count(len(own), 'result')}",)
        table = _changed(own)
        blocks += [Title(section), table] if change in _OPEN else [Fold(section, (table,))]
        if evidence and change is Change.NEWLY_FAILING:
            blocks += _reasons(run, own)
        same = sum(d.same_parts for d in own)
        if same and not found.by_goal:
            which = "all" if same == len(own) else f"{same}"
            parts = f"Of these, {which} ran the same kernel, module and case, byte for byte"
            blocks.append(Paragraph((f"{parts}: chance, or the machine.",)))
    blocks += _durations(found)
    blocks += _came_and_went(found)
    if found.provenance:
        rows = tuple(
            ((Code(m.name),), (Code(_short(m.before)),), (Code(_short(m.after)),)) for m in found.provenance
        )
        table = Table(("what", "before", "now"), rows)
        blocks.append(Fold((f"What ran is not the same: {count(len(rows), 'difference')}",), (table,)))
    elif not found.by_goal:
        blocks.append(Paragraph(("Tree, series, compiler and cases are the same.",)))
    return blocks


def headline(found: Comparison) -> Text:
    """Return ``run B against run A: 2 newly failing, 1 newly passing, 540 unchanged.``"""
    counts = [f"{n} {change.value}" for change in Change if (n := found.counts.get(change, 0))]
    totals = f": {', '.join(counts) or 'nothing in common'}."
    meaning = " Failing means here that a user does not get what the case is about." if found.by_goal else ""
    return (Code(found.new), " against ", Code(found.old), totals + meaning)


def _changed(own: Sequence[Difference]) -> Table:
    """Return a table of differences, those with the same outcomes in one row."""
    groups: dict[tuple[str, str, str], list[str]] = {}
    for d in own:
        after_cell = d.after_cell
        if after_cell and after_cell.state not in (State.RAN, State.SKIPPED):
            # The cell did not run: one row for all its cases.
            key = (f"(all of {after_cell.cell})", "", after_cell.state.value)
        else:
            key = (d.case, *_words(d))
        groups.setdefault(key, []).append(d.cell)
    rows: list[tuple[Text, ...]] = [
        ((Code(case),), (Code(before),), (Code(after),), listed(dict.fromkeys(cells), _CELLS))
        for (case, before, after), cells in groups.items()
    ]
    return Table(("case", "before", "now", "cells"), tuple(_bounded(rows, _ROWS)))


def _words(difference: Difference) -> tuple[str, str]:
    """Return the outcomes before and after; if they are equal, with the verdicts, which differ then."""
    both = (difference.before, difference.after)
    words = [result.word if result else "not there" for result in both]
    if words[0] == words[1]:
        words = [f"{w} ({wording.mark(r).word})" if r else w for w, r in zip(words, both, strict=True)]
    return words[0], words[1]


def _short(value: str) -> str:
    """Return *value* with each digest in it cut to its first 12 digits."""
    return re.sub(r"\b([0-9a-f]{12})[0-9a-f]{20,}\b", r"\1…", value) or "not known"


def _reasons(run: Run, own: Sequence[Difference]) -> list[Block]:
    """Return the blocks about the new failures in cells that ran, alike ones once."""
    cells = {d.after_cell.cell for d in own if d.after_cell and d.after_cell.state is State.RAN}
    chosen = {(d.cell, d.case) for d in own if d.cell in cells}
    groups = ([(c, r) for c, r in found if (c.cell, r.case) in chosen] for found in alike.groups(run))
    return [block for found in [g for g in groups if g][:_COMMANDS] for block in _failure(run, found)]


def _durations(found: Comparison) -> list[Block]:
    """Return the tables of slower and faster results."""
    blocks: list[Block] = []
    for change, heading in ((Change.SLOWER, "Slower"), (Change.FASTER, "Faster")):
        own = sorted(found.of(change), key=lambda d: d.times, reverse=change is Change.SLOWER)
        rows: list[tuple[Text, ...]] = [
            (
                (Code(d.case),),
                (Code(d.cell),),
                (f"{_each(d.before):.1f} s",),
                (f"{_each(d.after):.1f} s",),
                (f"{d.times:.1f} ×",),
            )
            for d in own
        ]
        if rows:
            table = Table(("case", "cell", "before", "now", "times"), tuple(_bounded(rows, _ROWS)))
            blocks.append(Fold((f"{heading}: {count(len(own), 'result')}",), (table,)))
    if blocks and found.speed != 1:
        text = f"This run took {found.speed:.2f} times as long as a whole, which is taken out of the times."
        blocks.append(Paragraph((text,)))
    return blocks


def _each(result: CaseResult | None) -> float:
    """Return the seconds that one attempt took."""
    return result.duration_s / max(result.attempts, 1) if result else 0.0


def _came_and_went(found: Comparison) -> list[Block]:
    """Return the cells and cases that only one of the two runs has."""
    items: list[Text] = []
    for label, names in (
        ("new cells", found.appeared_cells),
        ("cells that are gone", found.vanished_cells),
        ("new cases", found.appeared_cases),
        ("cases that are gone", found.vanished_cases),
    ):
        if names:
            items.append((f"{label}: ", *listed(names, 12)))
    return [Items(tuple(items))] if items else []


def whole(run: Run, found: Comparison | None, extra: Iterable[Block | None] = ()) -> list[Block]:
    """Return the whole report: title, comparison if there is one, the run itself, and the *extra* blocks."""
    blocks: list[Block] = [title(run)]
    if found:
        blocks += [*of_comparison(found, run), Fold(("The run as such",), tuple(of_run(run, evidence=False)))]
    else:
        blocks += of_run(run)
    return [*blocks, *(block for block in extra if block)]
