"""From what a guest said of a case to its verdict. Pure.

`judge` weighs what the verdict stream says of a case against what is expected in its cell. A pass needs
everything at once: the case began and ended by itself with status 0, observed exactly one outcome, the
expected one, kept its conditions, no crash was reported and the stream was whole. Whatever is not that is a
failure, an error or a skip, with the sentence a developer needs first.
"""

from __future__ import annotations

import re
import signal
from collections.abc import Sequence
from dataclasses import dataclass, field

from kmodpipe.judge import precedence
from kmodpipe.judge.cases import EXIT_GOAL, Case, CellContext, Expectation
from kmodpipe.judge.precedence import Setting
from kmodpipe.kconfig.matrix import CONTROL_DESIGN
from kmodpipe.logs import ktap
from kmodpipe.logs.case_record import CaseRecord
from kmodpipe.logs.evidence import KernelReport
from kmodpipe.results import CLOSE_TO_LIMIT, CaseResult, Verdict
from kmodpipe.util.text import one_line, visible_lines
from kmodpipe.vm.cpu_time import Reading
from kmodpipe.vm.limits import TimeScale

EXIT_SKIP = 4
_TROUBLE = re.compile(r"\btaint:[A-Z?]*[MBDWL]|\blockdep:off\b")
"""What a kernel in which something went wrong looks like, whether or not it could say so: a machine check, a
bad page, an oops, a warning, a lockup; lockdep that has seen enough."""
EXCERPT_LIMIT = 64 * 1024
_PASS_EXCERPT_LIMIT = 8 * 1024


@dataclass(frozen=True)
class CaseEvidence:
    """What is known of one case in one guest."""

    # What the verdict stream says; None: it says nothing of this case.
    record: CaseRecord | None = None
    # The kernel's that are charged to this case: one that is not benign overrides everything.
    reports: tuple[KernelReport, ...] = ()
    # Nothing of the stream up to this case's end was lost or damaged, and the last record came or the
    # guest's death is charged to another case.
    channel_whole: bool = True
    # How the guest ended, where it ended early: "silence: no sign of life for 20 s".
    ending: str = ""
    # What the machinery did to the guest: "QEMU was killed by SIGKILL". A case without an end is then an
    # error instead of a failure.
    infra: str = ""
    # What the kernel did that no case could begin: "it refused the module: ENOEXEC". A failure.
    prevented: str = ""
    # What the case's time limit was multiplied by.
    time_scale: TimeScale = field(default_factory=TimeScale)
    # What QEMU got of this machine while the case ran.
    spent: Reading | None = None
    # What of the kernel's messages in the case's time is in no file: no pass then.
    unseen: str = ""
    # The number of the guest in its cell; 0: there was none.
    guest: int = 0


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

    # Each check answers only what the ones before it left open; `verdict` is their order.
    def verdict(self) -> CaseResult:
        found = (
            self.crashed()
            or self.not_reached()
            or self.stream_fault()
            or self.crashed_unheard()
            or self.not_by_itself()
            or self.subtest_fault()
            or self.by_status()
            or self.by_outcome()
        )
        if self.evidence.unseen and found.verdict in (Verdict.PASS, Verdict.SKIP):
            text = f"a report of the kernel may have been missed: {self.evidence.unseen}"
            return self.result(Verdict.ERROR, text)
        return found

    def crashed(self) -> CaseResult | None:
        if self.crash is None:
            return None
        when = "in this case" if self.record.started else "before this case began"
        title, kind = one_line(self.crash.title), one_line(self.crash.kind)
        place = f", at {one_line(self.crash.place)}" if self.crash.place else ""
        return self.result(
            Verdict.FAIL,
            f"the kernel reported {when}: {title}{place}",
            outcome=kind or "crash",
            goal_met=False,
        )

    def not_reached(self) -> CaseResult | None:
        if self.record.started:
            return None
        if self.not_here:
            return self.result(Verdict.SKIP, self.not_here)
        if self.evidence.prevented and not self.evidence.infra:
            text = f"could not begin: {one_line(self.evidence.prevented)}"
            return self.result(Verdict.FAIL, text, outcome="not-begun", goal_met=False)
        why = self.evidence.infra or self.evidence.ending or "the guest never came to it"
        return self.result(Verdict.ERROR, f"not run: {one_line(why)}")

    def stream_fault(self) -> CaseResult | None:
        record = self.record
        if record.case_id != self.case.id:
            name = one_line(record.case_id)
            return self.result(
                Verdict.ERROR, f"the verdict stream speaks of case {name!r} in this one's place"
            )
        if record.problems:
            text = one_line("; ".join(record.problems))
            return self.result(Verdict.ERROR, f"the verdict stream contradicts itself: {text}")
        if not record.ended and self.evidence.infra:
            return self.result(
                Verdict.ERROR, f"infrastructure trouble in this case: {one_line(self.evidence.infra)}"
            )
        if not record.ended:
            why = one_line(self.evidence.ending or "its end never came")
            return self.result(
                Verdict.FAIL, f"the guest died in this case: {why}", outcome="died", goal_met=False
            )
        if not self.evidence.channel_whole:
            return self.result(
                Verdict.ERROR, "the verdict stream is damaged or cut: what it says cannot be believed"
            )
        return None

    def crashed_unheard(self) -> CaseResult | None:
        """A case can turn the console off, and a flood of messages carries others away."""
        if self.evidence.reports or not _TROUBLE.search(self.record.left):
            return None
        left = one_line(self.record.left)
        text = f"something went wrong in the kernel, and its report was not heard: {left}"
        return self.result(Verdict.FAIL, text, outcome="unheard", goal_met=False)

    def not_by_itself(self) -> CaseResult | None:
        record = self.record
        if record.how == "exit":
            return None
        if record.how == "signal":
            text, word = f"the script was killed by {_signal_name(record.status)}", "killed"
        elif record.how == "timeout":
            had = f"; {self.evidence.spent.describe()}" if self.evidence.spent else ""
            text, word = f"the script did not end within {self.time_limit()}{had}", "timeout"
        else:
            text, word = "a process is stuck in the kernel: it could not be killed", "stuck"
        return self.result(Verdict.FAIL, text + self.last_line(), outcome=word, goal_met=False)

    def subtest_fault(self) -> CaseResult | None:
        if self.ktap is None:
            return None
        failed = self.ktap.failed
        if failed:
            names = ", ".join(one_line(s.name) for s in failed[:5]) + (" …" if len(failed) > 5 else "")
            text = f"{len(failed)} of {len(self.ktap.subtests)} subtests failed: {names}"
            return self.result(Verdict.FAIL, text, outcome="subtests-failed", goal_met=False)
        if self.record.status not in (0, EXIT_SKIP):
            return None  # it failed, whatever became of its report
        problems = [*self.ktap.problems]
        if self.record.dropped.get("out"):
            problems.append(f"{self.record.dropped['out']} bytes of output were dropped")
        if problems:
            return self.result(
                Verdict.ERROR, f"the KTAP report is not whole: {one_line('; '.join(problems))}"
            )
        if not self.ktap.subtests:
            return self.result(Verdict.ERROR, "the KTAP report is not whole: it has no results")
        return None

    def by_status(self) -> CaseResult | None:
        status, observed = self.record.status, self.record.outcomes
        if status == EXIT_SKIP:
            if observed:
                return self.result(Verdict.FAIL, f"the script skips, yet observed {_words(observed)}")
            why = self.record.observations.get("skip") or _last_line(self.record.output) or "exit status 4"
            return self.result(Verdict.SKIP, f"the case skips itself: {one_line(why)}")
        if status != 0:
            text = f"the script ended with exit status {status}{self.last_line()}"
            word = observed[-1] if observed else f"exit-{status}"
            return self.result(Verdict.FAIL, text, outcome=one_line(word), goal_met=False)
        skipped = self.ktap and all(s.verdict == "skip" for s in self.ktap.subtests)
        if skipped:
            return self.result(Verdict.SKIP, "the case skips all its subtests")
        if self.case.by_exit and len(observed) < 2:
            word = one_line(observed[0]) if observed else EXIT_GOAL
            return self.result(
                Verdict.PASS, "the script ended with exit status 0", outcome=word, goal_met=True
            )
        return None

    def by_outcome(self) -> CaseResult:
        outcomes = self.record.outcomes
        if len(outcomes) > 1:
            return self.result(Verdict.FAIL, f"the case contradicts itself: it observed {_words(outcomes)}")
        if not outcomes or not outcomes[0]:
            return self.result(Verdict.FAIL, "the script ended well and observed no outcome")
        outcome = one_line(outcomes[0])
        if self.setting:
            return self.by_setting(self.setting, outcome)
        goal_met = outcome in self.case.goals
        if self.rule is None:
            return self.by_goal(outcome, goal_met)
        self.rule = next((r for r in self.rules if not self.differences(r, outcome)), self.rule)
        differences = self.differences(self.rule, outcome)
        if not differences:
            found = (
                f"known defect: observed {outcome}" if self.rule.defect else f"observed {outcome} as expected"
            )
            return self.result(
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
        return self.result(Verdict.FAIL, text, outcome=outcome, goal_met=goal_met)

    def by_setting(self, setting: Setting, outcome: str) -> CaseResult:
        """Every pair of parameter state and mount option against the one rule."""
        if outcome != precedence.PROBED:
            text = f"the probing was not carried out: observed {outcome}"
            return self.result(Verdict.FAIL, text, outcome=outcome, expected=precedence.AS_RULED)
        pairs = setting.compare(self.record.observations, self.cell.choice)
        wrong = [s for s in pairs if s.verdict == "fail"]
        outcome = precedence.BROKEN if wrong else precedence.AS_RULED
        text = f"{len(pairs)} pairs of {setting.parameter} parameter and mount option as the rule has it"
        if wrong:
            first = "; ".join(f"{one_line(s.name)}: {one_line(s.note)}" for s in wrong[:3])
            text = f"{len(wrong)} of {len(pairs)} pairs are not as the rule has it: {first}"
        return self.result(
            Verdict.FAIL if wrong else Verdict.PASS,
            f"{text}: mount option over module parameter over Kconfig default",
            outcome=outcome, goal_met=not wrong, expected=precedence.AS_RULED, subtests=pairs,
        )  # fmt: skip

    def by_goal(self, outcome: str, goal_met: bool) -> CaseResult:
        """Judge a cell that no rule is about. For the control that is a hole in the data; a design without
        expectations is judged by what users want to see."""
        if self.cell.design == CONTROL_DESIGN:
            text = f"no expectation for this cell: observed {outcome}"
            return self.result(Verdict.ERROR, text, outcome=outcome, goal_met=goal_met)
        found = f"observed {outcome}" if goal_met else f"expected {self.case.goal}, observed {outcome}"
        text = f"{found}: no expectation for design {one_line(self.cell.design)!r}, judged by the case's goal"
        verdict = Verdict.PASS if goal_met else Verdict.FAIL
        return self.result(verdict, text, outcome=outcome, goal_met=goal_met, expected=self.case.goal)

    def differences(self, rule: Expectation, outcome: str) -> list[str]:
        found = []
        if outcome != rule.outcome:
            found.append(f"expected {rule.outcome}, observed {outcome}")
        for key, value in rule.observe.items():
            own = self.record.observations.get(key)
            if own != value:
                shown = "nothing" if own is None else one_line(own[:200])
                found.append(f"expected {key} {value}, observed {shown}")
        cut = " (some were dropped)" if self.record.dropped.get("kmsg") else ""
        for text in rule.kmsg:
            if not any(text in line for line in self.record.kmsg):
                found.append(f"expected the kernel message {text!r}, which did not come{cut}")
        for text in rule.no_kmsg:
            if any(text in line for line in self.record.kmsg):
                found.append(f"the kernel message {text!r} came, and must not")
        return found

    # -- putting the result together ------------------------------------------------------------------
    def result(
        self,
        verdict: Verdict,
        message: str,
        *,
        outcome: str = "",
        goal_met: bool | None = None,
        known_defect: bool = False,
        lacking: bool = False,
        expected: str | None = None,
        subtests: Sequence[ktap.Subtest] = (),
    ) -> CaseResult:
        record, rule = self.record, self.rule
        if verdict is Verdict.FAIL and goal_met is None:
            goal_met = False
        if verdict in (Verdict.ERROR, Verdict.SKIP):
            goal_met = None
        by_exit = EXIT_GOAL if self.case.by_exit else ""
        limit = _PASS_EXCERPT_LIMIT if verdict is Verdict.PASS else EXCERPT_LIMIT
        return CaseResult(
            case=self.case.id,
            verdict=verdict,
            message=message,
            outcome=outcome,
            expected=expected if expected is not None else (rule.outcome if rule else by_exit),
            reason=rule.reason if rule else "",
            goal_met=goal_met,
            known_defect=known_defect,
            lacking=lacking,
            evidence=self.details(),
            reports=self.evidence.reports,
            output_excerpt=excerpt(record.output, limit),
            kmsg=tuple(one_line(line) for line in record.kmsg),
            observations={one_line(k): visible_lines(v) for k, v in record.observations.items()},
            subtests=tuple(_shown(s) for s in (subtests or (self.ktap.subtests if self.ktap else ()))),
            duration_s=record.duration_ms / 1000,
            attempts=1 if record.started else 0,
            limit_used=round(self.limit_used(), 3),
            guest=self.evidence.guest,
        )

    def limit_used(self) -> float:
        """The part of its time limit that the case used; what QEMU waited for a processor does not count."""
        spent, limit_s = self.evidence.spent, self.case.timeout_s * self.evidence.time_scale.factor
        return spent.own_s / limit_s if spent else 0.0

    def time_limit(self) -> str:
        return self.evidence.time_scale.format(self.case.timeout_s)

    def last_line(self) -> str:
        line = _last_line(self.record.output)
        return f"; its last line: {one_line(line[:300])}" if line else ""

    def details(self) -> str:
        """Return what else there is to know, in lines."""
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
        lines += [f"dropped: {n} bytes of {one_line(stream)}" for stream, n in record.dropped.items()]
        lines += [f"guest: {one_line(text)}" for text in (self.evidence.ending, self.evidence.infra) if text]
        if self.ktap:
            lines.append(f"subtests: {self.ktap.counts}")
            lines += [one_line(f"not ok: {s.name} {s.note}".rstrip()) for s in self.ktap.failed]
        lines += [line for report in self.evidence.reports for line in report.format()]
        return "\n".join(lines)


def excerpt(data: bytes, limit: int = EXCERPT_LIMIT) -> str:
    """``data`` as text that can be shown, its middle left out where it has more than ``limit`` bytes."""
    if len(data) <= limit:
        return visible_lines(data.decode("utf-8", "replace"))
    half = limit // 2
    head, tail = (visible_lines(part.decode("utf-8", "replace")) for part in (data[:half], data[-half:]))
    return f"{head}\n[… {len(data) - 2 * half} bytes left out …]\n{tail}"


def _shown(subtest: ktap.Subtest) -> ktap.Subtest:
    return ktap.Subtest(one_line(subtest.name), subtest.verdict, one_line(subtest.note))


def _words(outcomes: Sequence[str]) -> str:
    return " and ".join(one_line(word) or "nothing" for word in outcomes)


def _last_line(output: bytes) -> str:
    lines = output.decode("utf-8", "replace").rstrip().rsplit("\n", 1)
    return lines[-1].strip()


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
