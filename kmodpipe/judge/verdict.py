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

from kmodpipe.judge import precedence
from kmodpipe.judge.cases import EXIT_GOAL, Case, CellContext, Expectation
from kmodpipe.judge.precedence import Setting
from kmodpipe.kconfig.matrix import CONTROL_DESIGN
from kmodpipe.logs import ktap
from kmodpipe.logs.case_record import CaseRecord
from kmodpipe.logs.evidence import KernelReport
from kmodpipe.results import CaseResult, Verdict
from kmodpipe.util.text import one_line, visible_lines
from kmodpipe.vm.cpu_time import Reading
from kmodpipe.vm.limits import TimeScale

EXIT_SKIP = 4
_TROUBLE = re.compile(r"\btaint:[A-Z?]*[MBDWL]|\blockdep:off\b")
"""What a kernel in which something went wrong looks like, whether or not it could say so: a machine check, a
bad page, an oops, a warning, a lockup; lockdep that has seen enough."""
EXCERPT_LIMIT = 64 * 1024
_PASS_EXCERPT_LIMIT = 8 * 1024
_CLOSE = 0.5
"""The part of its time limit from which on a case was close to it."""
_AS_DECLARED = TimeScale()


def judge(
    case: Case,
    where: CellContext,
    trial: CaseRecord | None,
    reports: Sequence[KernelReport] = (),
    channel_whole: bool = True,
    *,
    ending: str = "",
    infra: str = "",
    prevented: str = "",
    pace: TimeScale = _AS_DECLARED,
    spent: Reading | None = None,
    unseen: str = "",
) -> CaseResult:
    """The verdict on one case in one cell.

    ``reports`` are the kernel's that are charged to this case: one that is not benign overrides everything.
    ``channel_whole`` says that nothing of the stream up to this case's end was lost or damaged, and that the
    final record came or the guest's death is charged to another case. ``ending`` is a phrase on how the
    guest ended, where it ended early ("the guest said nothing for 20 s"); ``infra`` one on what the machinery
    did to it ("QEMU was killed by SIGKILL"), which makes a case without an end an error instead of a failure;
    ``prevented`` one on what the kernel did that no case could begin ("it refused the module: ENOEXEC"): a
    failure. ``pace`` is what the case's time limit was scaled by, ``spent`` what QEMU got of this machine
    meanwhile; ``unseen`` says what of the kernel's messages in this case nobody has seen: no pass then.
    """
    judging = _Judge(case, where, trial, reports, channel_whole, ending, infra, prevented)
    judging.pace, judging.spent, judging.unseen = pace, spent, unseen
    return judging.verdict()


class _Judge:
    def __init__(
        self,
        case: Case,
        where: CellContext,
        trial: CaseRecord | None,
        reports: Sequence[KernelReport],
        channel_whole: bool,
        ending: str,
        infra: str,
        prevented: str,
    ) -> None:
        self.case = case
        self.trial = trial or CaseRecord(-1)
        self.reports = tuple(reports)
        self.crash = next((report for report in reports if not report.benign), None)
        self.channel_whole = channel_whole
        self.ending = ending
        self.infra = infra
        self.prevented = prevented
        self.pace = _AS_DECLARED
        self.spent: Reading | None = None
        self.unseen = ""
        self.not_here = case.not_here(where)
        self.rules = case.expectations(where)
        self.rule = self.rules[0] if self.rules else None
        self.setting = case.setting(where.design)
        self.where = where
        self.report = ktap.parse(self.trial.output.decode("utf-8", "replace"))

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
        if self.unseen and found.verdict in (Verdict.PASS, Verdict.SKIP):
            text = f"a report of the kernel may have been missed: {self.unseen}"
            return self.result(Verdict.ERROR, text)
        return found

    def crashed(self) -> CaseResult | None:
        if self.crash is None:
            return None
        when = "in this case" if self.trial.started else "before this case began"
        title, kind = one_line(self.crash.title), one_line(self.crash.kind)
        place = f", at {one_line(self.crash.place)}" if self.crash.place else ""
        return self.result(
            Verdict.FAIL,
            f"the kernel reported {when}: {title}{place}",
            outcome=kind or "crash",
            goal_met=False,
        )

    def not_reached(self) -> CaseResult | None:
        if self.trial.started:
            return None
        if self.not_here:
            return self.result(Verdict.SKIP, self.not_here)
        if self.prevented and not self.infra:
            text = f"could not begin: {one_line(self.prevented)}"
            return self.result(Verdict.FAIL, text, outcome="not-begun", goal_met=False)
        why = self.infra or self.ending or "the guest never came to it"
        return self.result(Verdict.ERROR, f"not run: {one_line(why)}")

    def stream_fault(self) -> CaseResult | None:
        trial = self.trial
        if trial.case_id != self.case.id:
            name = one_line(trial.case_id)
            return self.result(
                Verdict.ERROR, f"the verdict stream speaks of case {name!r} in this one's place"
            )
        if trial.problems:
            text = one_line("; ".join(trial.problems))
            return self.result(Verdict.ERROR, f"the verdict stream contradicts itself: {text}")
        if not trial.ended and self.infra:
            return self.result(Verdict.ERROR, f"infrastructure trouble in this case: {one_line(self.infra)}")
        if not trial.ended:
            why = one_line(self.ending or "its end never came")
            return self.result(
                Verdict.FAIL, f"the guest died in this case: {why}", outcome="died", goal_met=False
            )
        if not self.channel_whole:
            return self.result(
                Verdict.ERROR, "the verdict stream is damaged or cut: what it says cannot be believed"
            )
        return None

    def crashed_unheard(self) -> CaseResult | None:
        """A case can turn the console off, and a flood of messages carries others away."""
        if self.reports or not _TROUBLE.search(self.trial.left):
            return None
        left = one_line(self.trial.left)
        text = f"something went wrong in the kernel, and its report was not heard: {left}"
        return self.result(Verdict.FAIL, text, outcome="unheard", goal_met=False)

    def not_by_itself(self) -> CaseResult | None:
        trial = self.trial
        if trial.how == "exit":
            return None
        if trial.how == "signal":
            text, word = f"the script was killed by {_signal_name(trial.status)}", "killed"
        elif trial.how == "timeout":
            had = f"; {self.spent.describe()}" if self.spent else ""
            text, word = (
                f"the script did not end within {self.pace.format(self.case.timeout_s)}{had}",
                "timeout",
            )
        else:
            text, word = "a process is stuck in the kernel: it could not be killed", "stuck"
        return self.result(Verdict.FAIL, text + self.last_line(), outcome=word, goal_met=False)

    def subtest_fault(self) -> CaseResult | None:
        if self.report is None:
            return None
        failed = self.report.failed
        if failed:
            names = ", ".join(one_line(s.name) for s in failed[:5]) + (" …" if len(failed) > 5 else "")
            text = f"{len(failed)} of {len(self.report.subtests)} subtests failed: {names}"
            return self.result(Verdict.FAIL, text, outcome="subtests-failed", goal_met=False)
        if self.trial.status not in (0, EXIT_SKIP):
            return None  # it failed, whatever became of its report
        problems = [*self.report.problems]
        if self.trial.dropped.get("out"):
            problems.append(f"{self.trial.dropped['out']} bytes of output were dropped")
        if problems:
            return self.result(
                Verdict.ERROR, f"the KTAP report is not whole: {one_line('; '.join(problems))}"
            )
        if not self.report.subtests:
            return self.result(Verdict.ERROR, "the KTAP report is not whole: it has no results")
        return None

    def by_status(self) -> CaseResult | None:
        status, observed = self.trial.status, self.trial.outcomes
        if status == EXIT_SKIP:
            if observed:
                return self.result(Verdict.FAIL, f"the script skips, yet observed {_words(observed)}")
            why = self.trial.observations.get("skip") or _last_line(self.trial.output) or "exit status 4"
            return self.result(Verdict.SKIP, f"the case skips itself: {one_line(why)}")
        if status != 0:
            text = f"the script ended with exit status {status}{self.last_line()}"
            word = observed[-1] if observed else f"exit-{status}"
            return self.result(Verdict.FAIL, text, outcome=one_line(word), goal_met=False)
        skipped = self.report and all(s.verdict == "skip" for s in self.report.subtests)
        if skipped:
            return self.result(Verdict.SKIP, "the case skips all its subtests")
        if self.case.by_exit and len(observed) < 2:
            word = one_line(observed[0]) if observed else EXIT_GOAL
            return self.result(
                Verdict.PASS, "the script ended with exit status 0", outcome=word, goal_met=True
            )
        return None

    def by_outcome(self) -> CaseResult:
        outcomes = self.trial.outcomes
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
        if self.where.partial:
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
        told = setting.compare(self.trial.observations, self.where.choice)
        wrong = [s for s in told if s.verdict == "fail"]
        outcome = precedence.BROKEN if wrong else precedence.AS_RULED
        text = f"{len(told)} pairs of {setting.parameter} parameter and mount option as the rule has it"
        if wrong:
            first = "; ".join(f"{one_line(s.name)}: {one_line(s.note)}" for s in wrong[:3])
            text = f"{len(wrong)} of {len(told)} pairs are not as the rule has it: {first}"
        return self.result(
            Verdict.FAIL if wrong else Verdict.PASS,
            f"{text}: mount option over module parameter over Kconfig default",
            outcome=outcome, goal_met=not wrong, expected=precedence.AS_RULED, subtests=told,
        )  # fmt: skip

    def by_goal(self, outcome: str, goal_met: bool) -> CaseResult:
        """No rule speaks of this cell. For the control that is a hole in the data; a design that nobody has
        written expectations for is judged by what users want to see."""
        if self.where.design == CONTROL_DESIGN:
            text = f"no expectation for this cell: observed {outcome}"
            return self.result(Verdict.ERROR, text, outcome=outcome, goal_met=goal_met)
        found = f"observed {outcome}" if goal_met else f"expected {self.case.goal}, observed {outcome}"
        text = (
            f"{found}: no expectation for design {one_line(self.where.design)!r}, judged by the case's goal"
        )
        verdict = Verdict.PASS if goal_met else Verdict.FAIL
        return self.result(verdict, text, outcome=outcome, goal_met=goal_met, expected=self.case.goal)

    def differences(self, rule: Expectation, outcome: str) -> list[str]:
        found = []
        if outcome != rule.outcome:
            found.append(f"expected {rule.outcome}, observed {outcome}")
        for key, value in rule.observe.items():
            own = self.trial.observations.get(key)
            if own != value:
                told = "nothing" if own is None else one_line(own[:200])
                found.append(f"expected {key} {value}, observed {told}")
        cut = " (some were dropped)" if self.trial.dropped.get("kmsg") else ""
        for text in rule.kmsg:
            if not any(text in line for line in self.trial.kmsg):
                found.append(f"expected the kernel message {text!r}, which did not come{cut}")
        for text in rule.no_kmsg:
            if any(text in line for line in self.trial.kmsg):
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
        trial, rule = self.trial, self.rule
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
            evidence=self.evidence(),
            reports=self.reports,
            output_excerpt=excerpt(trial.output, limit),
            kmsg=tuple(one_line(line) for line in trial.kmsg),
            observations={one_line(k): visible_lines(v) for k, v in trial.observations.items()},
            subtests=tuple(_shown(s) for s in (subtests or (self.report.subtests if self.report else ()))),
            duration_s=trial.duration_ms / 1000,
            attempts=1 if trial.started else 0,
            limit_used=round(self.limit_used(), 3),
        )

    def limit_used(self) -> float:
        """The part of its time limit that the case used; what QEMU waited for a processor does not count."""
        return self.spent.own_s / (self.case.timeout_s * self.pace.factor) if self.spent else 0.0

    def last_line(self) -> str:
        line = _last_line(self.trial.output)
        return f"; its last line: {one_line(line[:300])}" if line else ""

    def evidence(self) -> str:
        """What else there is to know, in lines."""
        trial, lines = self.trial, []
        if trial.started:
            ended = f"{trial.how} {trial.status}, {trial.duration_ms} ms" if trial.ended else "no end"
            lines.append(f"ended: {one_line(ended)}")
        lines += [f"{one_line(k)}: {visible_lines(v)}" for k, v in trial.observations.items()]
        if self.spent and self.limit_used() > _CLOSE:
            limit = self.pace.format(self.case.timeout_s)
            told = f"close to its limit: {self.limit_used():.0%} of {limit}; {self.spent.describe()}"
            lines.append(told)
        if trial.left:
            lines.append(f"left behind: {one_line(trial.left)}")
        lines += [f"dropped: {n} bytes of {one_line(stream)}" for stream, n in trial.dropped.items()]
        lines += [f"guest: {one_line(text)}" for text in (self.ending, self.infra) if text]
        if self.report:
            lines.append(f"subtests: {self.report.counts}")
            lines += [one_line(f"not ok: {s.name} {s.note}".rstrip()) for s in self.report.failed]
        lines += [line for report in self.reports for line in report.format()]
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
