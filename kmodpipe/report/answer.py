"""The answer of a run in one sentence, with which every report begins. Pure.

    index-nouuid fixes 5, breaks 0, has 10 known issues, on 2 kernels.
    Not whole (interrupted after 16 of 20 results): index-nouuid fixes 2, breaks 0, on Linux 5.10.223.
    index-nouuid ran alone; nothing was compared: the unpatched tree did not run beside it; 59 PASS, 0 FAIL.

What makes it less than an answer stands in front of it, so that no reader takes the half for the whole.
Numbers are of cases; a case that several cells show is one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from kmodpipe.report import new_warnings, wording
from kmodpipe.report.markup import Code, Text
from kmodpipe.report.wording import count
from kmodpipe.results import (
    CHECKED,
    CONTROL,
    Effect,
    EffectKind,
    Run,
    State,
    Verdict,
    effects,
    may_be_empty,
    uncompared,
    unjudged,
)
from kmodpipe.util.text import one_line, some

# Series that the sentence has room for.
_MOST_SERIES = 4
_NO_VERDICT = (State.INFRA, State.INTERRUPTED, State.NOT_RUN)


@dataclass(frozen=True)
class SeriesAnswer:
    """What one series does, on all kernels together."""

    # Empty where the words are about the run as a whole.
    variant: str
    # ``fixes 5, breaks 0, has 10 known issues``
    words: str


@dataclass(frozen=True)
class Answer:
    """The sentence, in its parts."""

    # Why it is not the whole answer; empty if it is.
    caveat: str
    series: tuple[SeriesAnswer, ...]
    # ``on 2 kernels``
    place: str
    # What else a reader has to know of: failures of the control, dead axes, new warnings.
    more: tuple[str, ...]

    def parts(self) -> Text:
        """Return the sentence with the names of series as `Code`."""
        made: list[str | Code] = []
        # The reason may come from elsewhere.
        if self.caveat:
            made += ["Not whole (", Code(self.caveat), "): "]
        for number, one in enumerate(self.series):
            made.append("; " * bool(number))
            made += [Code(one.variant), " ", one.words] if one.variant else [one.words]
        return (*made, self.place, "".join(f"; {one}" for one in self.more), ".")

    def text(self) -> str:
        """Return the sentence as one line."""
        return "".join(one_line(p.text) if isinstance(p, Code) else p for p in self.parts())


def of_run(run: Run, variant: str = "") -> Answer:
    """Return the answer of a run; with *variant* about this series alone."""
    found = effects(run)
    names = _series(run, variant)
    series = _together(run, names) or tuple(
        _of_series(run, name, [e for e in found if e.variant == name]) for name in _worst_first(found, names)
    )
    if len(names) > len(series) > 1:
        rest = len(names) - len(series)
        series = (*series, SeriesAnswer("", f"and {count(rest, 'more series', 'more series')}"))
    caveat = _caveat(run)
    if not series:
        lead = "the unpatched tree" if caveat else "The unpatched tree"
        series = (SeriesAnswer("", f"{lead} alone: {_counts(run, CONTROL)}"),)
    return Answer(caveat, series, _place(run, names), tuple(_more(run, variant)))


def _series(run: Run, variant: str) -> list[str]:
    """Return the series that the sentence is about; not the steps on the way to one (``NAME@2``)."""
    known = [v for v in dict.fromkeys(c.variant for c in run.cells) if v != CONTROL]
    if variant:
        return [variant]
    return [v for v in known if "@" not in v or v.partition("@")[0] not in known]


def _together(run: Run, names: Sequence[str]) -> tuple[SeriesAnswer, ...]:
    """Return what is said of several series that all ran alone; nothing if one of them did not."""
    if len(names) < 2 or CHECKED in run.properties:
        return ()
    alone = uncompared(run)
    if not all(
        ran and ran == frozenset(alone.get(n, ())) for n in names for ran in [wording.ran_cells(run, n)]
    ):
        return ()
    words = f"ran alone; {wording.NOT_COMPARED}; {_counts(run, *names)}"
    return (SeriesAnswer(some(names, _MOST_SERIES), words),)


def _worst_first(found: Iterable[Effect], names: Sequence[str]) -> Sequence[str]:
    """Return the series that the sentence has room for: of many those that broke something come first."""
    if len(names) <= _MOST_SERIES:
        return names
    bad = {e.variant for e in found if e.kind is EffectKind.REGRESSED or e.unexpected}
    return sorted(names, key=lambda name: name not in bad)[:_MOST_SERIES]


def _caveat(run: Run) -> str:
    """Return why the answer is not whole: the run was interrupted, goes on, or left results open."""
    if reason := wording.ended_early(run):
        return reason
    planned = sum(len(c.cases) for c in run.cells if c.state is not State.SKIPPED)
    open_results = sum(
        r.verdict is Verdict.ERROR for c, r in run.results() if c.state is not State.BUILD_FAILED
    )
    if not run.finished:
        return f"the run has not ended, {planned - open_results:,} of {count(planned, 'result')} are there"
    cells = sum(c.state in _NO_VERDICT for c in run.cells)
    unit, units, _, _ = wording.units(run)
    parts = [f"{count(cells, unit, units)} of {len(run.cells)} did not run"] if cells else []
    rest = sum(r.verdict is Verdict.ERROR for c, r in run.results() if c.state is State.RAN)
    parts += [f"{count(rest, 'result')} of {planned} without verdict"] if rest else []
    return ", ".join(parts)


def _of_series(run: Run, variant: str, own: Sequence[Effect]) -> SeriesAnswer:
    return SeriesAnswer(variant, ", ".join(_words(run, variant, own)))


def _words(run: Run, variant: str, own: Sequence[Effect]) -> list[str]:
    """Return what a series does as the parts of a list."""
    if CHECKED in run.properties:
        return [s.lead for v in wording.verdicts(run) if v.variant == variant for s in v.statements]
    ran, cells = wording.ran_cells(run, variant), [c for c in run.cells if c.variant == variant]
    unbuilt = sum(c.state is State.BUILD_FAILED for c in cells)
    failed = {r.case for c in cells if c.state is State.RAN for r in c.cases if r.verdict is Verdict.FAIL}
    made = [f"does not build in {unbuilt} of {count(len(cells), 'cell')}"] if unbuilt else []
    wrong = [f"{count(len(failed), 'case')} not as expected"] if failed else []
    if not ran:
        # Of cells that were interrupted there may be results.
        some = any(r.verdict in (Verdict.PASS, Verdict.FAIL) for c in cells for r in c.cases)
        counts = [_counts(run, variant)] if some and not unbuilt else []
        return [*(made or [wording.not_run(run, variant)]), *counts]
    judged = any(r.verdict is not Verdict.SKIP for c in cells if c.state is State.RAN for r in c.cases)
    if not judged:
        return [*made, "was not judged in any case"]
    alone = frozenset(uncompared(run).get(variant, ()))
    if alone == ran:
        return [*made, f"ran alone; {wording.NOT_COMPARED}; {_counts(run, variant)}"]
    numbers = {kind: _cases(own, kind, ran) for kind in EffectKind}
    made += [f"fixes {numbers[EffectKind.FIXED]}", f"breaks {numbers[EffectKind.REGRESSED]}"]
    if known := numbers[EffectKind.KNOWN_DEFECT]:
        made.append(f"has {count(known, 'known issue')}")
    made += wrong
    if alone:
        made.append(f"with nothing to compare with in {len(alone)} of {count(len(ran), 'cell')}")
    return made


def _cases(own: Iterable[Effect], kind: EffectKind, ran: frozenset[str]) -> int:
    """Return how many cases there are of a kind; what works, and was expected to fail, is not fixed."""
    return len(
        {
            e.case
            for e in own
            if e.kind is kind
            and ran.intersection(e.cells)
            and not (e.unexpected and kind is EffectKind.FIXED)
        }
    )


def _counts(run: Run, *variants: str) -> str:
    """Return ``59 PASS, 1 FAIL`` of the results of these variants."""
    own = Counter(r.verdict for c, r in run.results() if c.variant in variants)
    counts = [f"{own[Verdict.PASS]:,} PASS", f"{own[Verdict.FAIL]:,} FAIL"]
    return ", ".join([*counts, *([f"{own[Verdict.ERROR]:,} ERROR"] if own[Verdict.ERROR] else [])])


def _place(run: Run, variants: Sequence[str]) -> str:
    """Return on what the series ran: `` on Linux 5.10.223``, ``, on 2 of 3 kernels``."""
    known = wording.kernels(run)
    if len(known) < 2:
        version = wording.versions(run)
        return f", on Linux {one_line(version)}" if version else ""
    ran = {c.kernel for c in run.cells if c.state is State.RAN and (c.variant in variants or not variants)}
    number = str(len(known)) if len(ran) == len(known) else f"{len(ran)} of {len(known)}"
    return f", on {number} kernels"


def _more(run: Run, variant: str) -> Iterable[str]:
    control = len(wording.control_failures(run))
    if control and any(c.variant != CONTROL for c in run.cells):
        yield f"the unpatched tree itself is not as expected in {count(control, 'result')}"
    steps = {
        c.variant for c, r in run.results() if "@" in c.variant and r.verdict is Verdict.FAIL and not variant
    }
    if steps:
        yield f"after {count(len(steps), 'patch', 'patches')} on the way it is not as expected"
    dead = sum(one.failure for one in run.dead_axes)
    if dead:
        yield f"{dead} {'axis makes' if dead == 1 else 'axes make'} no difference"
    found = [w for w in new_warnings.of_run(run) if variant in ("", w.variant)]
    if found:
        yield new_warnings.sentence(found)
    if run.finished and not may_be_empty(run) and any(not one.variant for one in unjudged(run)):
        yield "nothing is proved"
