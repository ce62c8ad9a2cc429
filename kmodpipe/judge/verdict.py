"""Judge one case in one guest. Pure.

`judge` compares what the verdict stream reports about a case with what is expected in its cell. A pass needs
everything at once: the case began, ended by itself with status 0, observed exactly one outcome, the expected
one, met the further conditions of its rule, the kernel reported no crash, and the stream was whole. Anything
else is a failure, an error or a skip, with the sentence that a developer needs first.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from kmodpipe.judge import not_found, precedence, rate_limits
from kmodpipe.judge.backstop import unheard
from kmodpipe.judge.cases import EXIT_GOAL, Case, CellContext, Expectation
from kmodpipe.judge.cause import cause
from kmodpipe.judge.excerpts import (
    EXCERPT_LIMIT,
    PASS_EXCERPT_LIMIT,
    excerpt,
    last_line_of,
    printable,
    shortened,
    signal_name,
    words,
)
from kmodpipe.judge.precedence import Setting
from kmodpipe.judge.script import guest_has_no
from kmodpipe.logs import ktap
from kmodpipe.logs.case_record import CaseRecord
from kmodpipe.logs.evidence import KernelReport
from kmodpipe.results import CLOSE_TO_LIMIT, CaseResult, Verdict
from kmodpipe.util.text import count, one_line, visible_lines
from kmodpipe.vm.cpu_time import Reading
from kmodpipe.vm.limits import TimeScale

EXIT_SKIP = 4
# What the numbers of `CaseRecord.dropped` count.
_STREAMS = {"out": "bytes of output", "kmsg": "bytes of kernel messages", "obs": "observations"}


@dataclass(frozen=True)
class CaseEvidence:
    """What is known of one case in one guest."""

    # From the verdict stream; None if it has no record of this case.
    record: CaseRecord | None = None
    # The kernel's reports that are charged to this case. One that is not benign overrides everything else.
    reports: tuple[KernelReport, ...] = ()
    # Nothing of the stream up to this case's end was lost or damaged, and the last record came or the guest's
    # early end is charged to another case.
    channel_whole: bool = True
    # How the guest ended, if it ended early: "silence: no sign of life for 20 s".
    ending: str = ""
    # An infrastructure error: "QEMU was killed by SIGKILL". A case that did not end is an error then, not a
    # failure.
    infra: str = ""
    # Why the kernel let no case begin: "it refused the module: ENOEXEC". That is a failure.
    prevented: str = ""
    # The factors on the case's time limit.
    time_scale: TimeScale = field(default_factory=TimeScale)
    # The time that QEMU had while the case ran.
    spent: Reading | None = None
    # Which kernel messages during the case were not kept. If there are any, the case cannot pass.
    unseen: str = ""
    # What later cases in the same guest heard of messages that the kernel kept back (`rate_limits.told`).
    told_later: tuple[str, ...] = ()
    # The number of the guest in its cell; 0 if there was none.
    guest: int = 0


@dataclass(frozen=True)
class _Finding:
    """What one check found: the part of a result that differs between checks."""

    verdict: Verdict
    message: str
    outcome: str = ""
    # None: not met for a failure, unknown for an error and a skip.
    goal_met: bool | None = None
    known_defect: bool = False
    lacking: bool = False
    by_goal: bool = False
    # None: as the rule has it.
    expected: str | None = None
    # Empty: those of the KTAP report.
    subtests: tuple[ktap.Subtest, ...] = ()


def judge(case: Case, cell: CellContext, evidence: CaseEvidence) -> CaseResult:
    """Return the verdict on one case in one cell."""
    return _Judge(case, cell, evidence).verdict()


class _Judge:
    def __init__(self, case: Case, cell: CellContext, evidence: CaseEvidence) -> None:
        self.case = case
        self.cell = cell
        self.evidence = evidence
        self.record = evidence.record or CaseRecord(-1)
        self.crash = next((report for report in evidence.reports if not report.benign), None)
        self.not_here = case.not_here(cell)
        self.rules = case.expectations(cell)
        self.rule = self.rules[0] if self.rules else None
        self.setting = case.setting(cell.design)
        self.ktap = ktap.parse(self.record.output.decode("utf-8", "replace"))

    def verdict(self) -> CaseResult:
        # The order matters: each check assumes that the ones before it found nothing.
        found = (
            self.crashed()
            or self.not_reached()
            or self.stream_fault()
            or self.crashed_silently()
            or self.lacked_programs()
            or self.ended_abnormally()
            or self.subtest_fault()
            or self.by_status()
            or self.by_outcome()
        )
        if found.verdict in (Verdict.PASS, Verdict.SKIP) and (unknown := self.not_known()):
            found = _Finding(Verdict.ERROR, f"no verdict: {unknown}")
        return self.result(found)

    def not_known(self) -> str:
        """Return why evidence against a pass may have been missed; empty if there is all of it."""
        found = []
        if self.evidence.unseen:
            found.append(f"a report of the kernel may have been missed: {self.evidence.unseen}")
        for stream, number in self.record.dropped.items():
            what = _STREAMS.get(stream, f"bytes of {one_line(stream)}")
            found.append(f"at least {number} {what} were dropped, as there was too much of it")
        if self.rule and (line := self.kept_back(self.rule.no_kmsg)):
            found.append(f"the kernel suppressed messages of its own: {one_line(line)}")
        return "; ".join(found)

    def kept_back(self, texts: tuple[str, ...]) -> str:
        """Return the line by which the kernel says that it may have kept back one of the texts, else ''."""
        return rate_limits.may_hide((*rate_limits.told(self.record.kmsg), *self.evidence.told_later), texts)

    def crashed(self) -> _Finding | None:
        if self.crash is None:
            return None
        when = "in this case" if self.record.started else "before this case began"
        title, kind = one_line(self.crash.title), one_line(self.crash.kind)
        place = f", at {one_line(self.crash.place)}" if self.crash.place else ""
        text = f"the kernel reported {when}: {title}{place}"
        return _Finding(Verdict.FAIL, text, outcome=kind or "crash", goal_met=False)

    def not_reached(self) -> _Finding | None:
        if self.record.started:
            return None
        if self.not_here:
            return _Finding(Verdict.SKIP, self.not_here)
        if lacking := self.case.lacking(self.cell):
            return _Finding(Verdict.ERROR, guest_has_no(lacking))
        if self.evidence.prevented and not self.evidence.infra:
            text = f"could not begin: {one_line(self.evidence.prevented)}"
            return _Finding(Verdict.FAIL, text, outcome="not-begun", goal_met=False)
        why = self.evidence.infra or self.evidence.ending or "the guest never came to it"
        return _Finding(Verdict.ERROR, f"not run: {one_line(why)}")

    def stream_fault(self) -> _Finding | None:
        record = self.record
        if record.case_id != self.case.id:
            name = one_line(record.case_id)
            return _Finding(Verdict.ERROR, f"the verdict stream speaks of case {name!r} in this one's place")
        if record.problems:
            text = one_line("; ".join(record.problems))
            return _Finding(Verdict.ERROR, f"the verdict stream contradicts itself: {text}")
        if not record.ended and self.evidence.infra:
            text = one_line(self.evidence.infra)
            return _Finding(Verdict.ERROR, f"infrastructure trouble in this case: {text}")
        if not record.ended:
            why = one_line(self.evidence.ending or "its end never came")
            return _Finding(
                Verdict.FAIL, f"the guest died in this case: {why}", outcome="died", goal_met=False
            )
        if not self.evidence.channel_whole:
            return _Finding(
                Verdict.ERROR, "the verdict stream is damaged or cut: what it says cannot be believed"
            )
        return None

    def crashed_silently(self) -> _Finding | None:
        """Fail a case that left traces of an error that no report explains."""
        traces = unheard(self.record.left, self.evidence.reports, self.record.dropped)
        if not traces:
            return None
        text = f"something went wrong in the kernel, and its report was not heard: {one_line(traces)}"
        return _Finding(Verdict.FAIL, text, outcome="unheard", goal_met=False)

    def lacked_programs(self) -> _Finding | None:
        """Give no verdict on a case that called a program that the guest does not have, however it ended."""
        missing = not_found.programs_not_found(self.record.output)
        if not missing or (self.record.how == "exit" and self.record.status == EXIT_SKIP):
            return None
        return _Finding(Verdict.ERROR, guest_has_no(missing))

    def ended_abnormally(self) -> _Finding | None:
        record = self.record
        if record.how == "exit":
            return None
        if record.how == "signal":
            text, word = f"the script was killed by {signal_name(record.status)}", "killed"
        elif record.how == "timeout":
            had = f"; {self.evidence.spent.describe()}" if self.evidence.spent else ""
            text, word = f"the script did not end within {self.time_limit()}{had}", "timeout"
        else:
            text, word = "a process is stuck in the kernel: it could not be killed", "stuck"
        return _Finding(Verdict.FAIL, text + self.last_line(), outcome=word, goal_met=False)

    def subtest_fault(self) -> _Finding | None:
        if self.ktap is None:
            return None
        failed = self.ktap.failed
        if failed:
            names = ", ".join(one_line(s.name) for s in failed[:5]) + (" …" if len(failed) > 5 else "")
            text = f"{len(failed)} of {count(len(self.ktap.subtests), 'subtest')} failed: {names}"
            return _Finding(Verdict.FAIL, text, outcome="subtests-failed", goal_met=False)
        if self.record.status not in (0, EXIT_SKIP):
            return None  # it failed anyway: `by_status` gives the reason
        if self.ktap.stray:
            quoted = repr(one_line(self.ktap.stray[0]))
            text = f"the output says {quoted}, which is part of no TAP or KTAP report"
            return _Finding(Verdict.FAIL, text, outcome="subtests-failed", goal_met=False)
        problems = [*self.ktap.problems]
        if self.record.dropped.get("out"):
            problems.append(f"{self.record.dropped['out']} bytes of output were dropped")
        if problems:
            return _Finding(Verdict.ERROR, f"the KTAP report is not whole: {one_line('; '.join(problems))}")
        if not self.ktap.subtests:
            return _Finding(Verdict.ERROR, "the KTAP report is not whole: it has no results")
        return None

    def by_status(self) -> _Finding | None:
        status, observed = self.record.status, self.record.outcomes
        if status == EXIT_SKIP:
            if observed:
                return _Finding(Verdict.FAIL, f"the script skips, yet observed {words(observed)}")
            why = self.record.observations.get("skip") or last_line_of(self.record.output) or "exit status 4"
            return _Finding(Verdict.SKIP, f"the case skips itself: {one_line(why)}")
        if status != 0:
            text = f"the script ended with exit status {status}"
            if line := cause(self.record.output):
                # Behind our own words: what a case prints must not look like a verdict.
                text = f"{text}: {one_line(line[:300])}"
            word = observed[-1] if observed else f"exit-{status}"
            return _Finding(Verdict.FAIL, text, outcome=one_line(word), goal_met=False)
        if self.ktap and self.ktap.verdict == "skip":
            return _Finding(Verdict.SKIP, "the case skips all its subtests")
        if self.case.by_exit and len(observed) < 2:
            word = one_line(observed[0]) if observed else EXIT_GOAL
            return _Finding(Verdict.PASS, "the script ended with exit status 0", outcome=word, goal_met=True)
        return None

    def by_outcome(self) -> _Finding:
        outcomes = self.record.outcomes
        if len(outcomes) > 1:
            return _Finding(Verdict.FAIL, f"the case contradicts itself: it observed {words(outcomes)}")
        if not outcomes or not outcomes[0]:
            return _Finding(Verdict.FAIL, "the script ended well and observed no outcome")
        outcome = one_line(outcomes[0])
        if self.setting:
            return self.by_setting(self.setting, outcome)
        goal_met = outcome in self.case.goals
        if self.rule is None:
            return self.by_goal(outcome, goal_met)
        self.rule = next((r for r in self.rules if not self.differences(r, outcome)), self.rule)
        differences = self.differences(self.rule, outcome)
        if differences and not self.differences(self.rule, outcome, kmsg=False):
            line = self.kept_back(self.rule.kmsg)
            lost = f"the kernel suppressed some: {one_line(line)}" if line else ""
            if self.record.dropped.get("kmsg"):
                lost = "kernel messages were dropped"
            if lost:
                text = f"no verdict: {'; '.join(differences)}, and {lost}"
                return _Finding(Verdict.ERROR, text, outcome=outcome)
        if not differences:
            found = (
                f"known defect: observed {outcome}" if self.rule.defect else f"observed {outcome} as expected"
            )
            return _Finding(
                Verdict.PASS, f"{found}: {self.rule.reason}",
                outcome=outcome, goal_met=goal_met, known_defect=self.rule.defect, lacking=self.rule.lacks,
            )  # fmt: skip
        text = f"{'; '.join(differences)}: {self.rule.reason}"
        if self.cell.partial:
            text = f"neither as before the series nor as after it: {text}"
        if self.rule.defect and outcome != self.rule.outcome:
            text = (
                f"expected the known defect {self.rule.outcome}, observed {outcome}; if it is gone, the "
                f"expectation must be revised: {self.rule.reason}"
            )
        return _Finding(Verdict.FAIL, text, outcome=outcome, goal_met=goal_met)

    def by_setting(self, setting: Setting, outcome: str) -> _Finding:
        """Judge every pair of parameter state and mount option by the one rule."""
        if outcome != precedence.PROBED:
            text = f"the probing was not carried out: observed {outcome}"
            return _Finding(Verdict.FAIL, text, outcome=outcome, expected=precedence.AS_RULED)
        pairs = setting.compare(self.record.observations, self.cell.choice)
        wrong = [s for s in pairs if s.verdict == "fail"]
        outcome = precedence.BROKEN if wrong else precedence.AS_RULED
        text = f"{len(pairs)} pairs of {setting.parameter} parameter and mount option as the rule has it"
        if wrong:
            first = "; ".join(f"{one_line(s.name)}: {one_line(s.note)}" for s in wrong[:3])
            text = f"{len(wrong)} of {len(pairs)} pairs are not as the rule has it: {first}"
        return _Finding(
            Verdict.FAIL if wrong else Verdict.PASS,
            f"{text}: mount option over module parameter over Kconfig default",
            outcome=outcome, goal_met=not wrong, expected=precedence.AS_RULED, subtests=pairs,
        )  # fmt: skip

    def by_goal(self, outcome: str, goal_met: bool) -> _Finding:
        """Judge a cell to which no rule applies by the goal; without a design by the control as well.

        The latter is done when all cells have run: see `results.judged_against_control`.
        """
        found = f"observed {outcome}" if goal_met else f"expected {self.case.goal}, observed {outcome}"
        design = self.cell.design
        why = f"no expectation for design {one_line(design)!r}" if design else "the series has no design"
        verdict = Verdict.PASS if goal_met else Verdict.FAIL
        return _Finding(
            verdict, f"{found}: {why}, judged by the case's goal",
            outcome=outcome, goal_met=goal_met, expected=self.case.goal, by_goal=not design,
        )  # fmt: skip

    def differences(self, rule: Expectation, outcome: str, *, kmsg: bool = True) -> list[str]:
        """Return how the case differs from a rule; empty if it does not.

        ``kmsg``: kernel messages that did not come are differences.
        """
        found = []
        if outcome != rule.outcome:
            found.append(f"expected {rule.outcome}, observed {outcome}")
        for key, value in rule.observe.items():
            own = self.record.observations.get(key)
            if own != value:
                shown = "nothing" if own is None else one_line(own[:200])
                found.append(f"expected {key} {value}, observed {shown}")
        for text in rule.kmsg if kmsg else ():
            if not any(text in line for line in self.record.kmsg):
                found.append(f"expected the kernel message {text!r}, which did not come")
        for text in rule.no_kmsg:
            if any(text in line for line in self.record.kmsg):
                found.append(f"the kernel message {text!r} came, and must not")
        return found

    # -- assembling the result --------------------------------------------------------------------------
    def result(self, found: _Finding) -> CaseResult:
        record, rule = self.record, self.rule
        goal_met = found.goal_met
        if found.verdict is Verdict.FAIL and goal_met is None:
            goal_met = False
        if found.verdict in (Verdict.ERROR, Verdict.SKIP):
            goal_met = None
        expected = found.expected
        if expected is None:
            expected = rule.outcome if rule else EXIT_GOAL if self.case.by_exit else ""
        subtests = found.subtests or (self.ktap.subtests if self.ktap else ())
        limit = PASS_EXCERPT_LIMIT if found.verdict is Verdict.PASS else EXCERPT_LIMIT
        return CaseResult(
            case=self.case.id,
            verdict=found.verdict,
            message=found.message,
            outcome=found.outcome,
            expected=expected,
            reason=rule.reason if rule else "",
            goal_met=goal_met,
            known_defect=found.known_defect,
            lacking=found.lacking,
            by_goal=found.by_goal,
            evidence=self.details(),
            reports=self.evidence.reports,
            output_excerpt=excerpt(record.output, limit),
            kmsg=tuple(shortened([one_line(line) for line in record.kmsg])),
            observations={one_line(k): visible_lines(v) for k, v in record.observations.items()},
            subtests=tuple(printable(s) for s in subtests),
            duration_s=record.duration_ms / 1000,
            attempts=1 if record.started else 0,
            limit_used=round(self.limit_used(), 3),
            guest=self.evidence.guest,
        )

    def limit_used(self) -> float:
        """Return the part of its time limit that the case used, without QEMU's waiting for a processor."""
        spent, limit_s = self.evidence.spent, self.case.timeout_s * self.evidence.time_scale.factor
        return spent.own_s / limit_s if spent else 0.0

    def time_limit(self) -> str:
        return self.evidence.time_scale.format(self.case.timeout_s)

    def last_line(self) -> str:
        line = cause(self.record.output)
        return f"; its last line: {one_line(line[:300])}" if line else ""

    def details(self) -> str:
        """Return the evidence as lines."""
        record, lines = self.record, []
        if record.started:
            ended = f"{record.how} {record.status}, {record.duration_ms} ms" if record.ended else "no end"
            lines.append(f"ended: {one_line(ended)}")
        lines += [f"{one_line(k)}: {visible_lines(v)}" for k, v in record.observations.items()]
        if self.evidence.spent and self.limit_used() > CLOSE_TO_LIMIT:
            used, spent = f"{self.limit_used():.0%} of {self.time_limit()}", self.evidence.spent.describe()
            lines.append(f"close to its limit: {used}; {spent}")
        if record.left:
            lines.append(f"left behind: {one_line(record.left)}")
        lines += [
            f"dropped: {n} {_STREAMS.get(stream, one_line(stream))}" for stream, n in record.dropped.items()
        ]
        lines += [f"guest: {one_line(text)}" for text in (self.evidence.ending, self.evidence.infra) if text]
        if self.ktap:
            lines += [one_line(line) for line in self.ktap.details]
        lines += [line for report in self.evidence.reports for line in report.format()]
        return "\n".join(lines)
