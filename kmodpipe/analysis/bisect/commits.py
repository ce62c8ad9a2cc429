"""Find the first commit of a range with which a case has another outcome. git bisect chooses the commits.

Each commit is the tree of the range's good end with a patch on top: its difference to that. So what a base is
made of is compared by content, as for a series, and where commits touch the module alone no base is built. If
that is more than a patch can be, the commit is a tree of its own.
"""

from __future__ import annotations

from collections.abc import Sequence

from kmodpipe.analysis.bisect.model import Answer, Kind, Seen, Side, Suspect
from kmodpipe.analysis.bisect.probe import Choice, Probe, Target
from kmodpipe.analysis.bisect.question import Question, Searched, begin
from kmodpipe.analysis.bisect.rates import Policy
from kmodpipe.judge.cases import Case
from kmodpipe.series import of_patch
from kmodpipe.source.bisection import Bisection, First, ToTry
from kmodpipe.source.commit_range import CommitRange
from kmodpipe.source.tree import TreeSpec
from kmodpipe.util import process
from kmodpipe.util.child_output import OutputTooLarge
from kmodpipe.util.errors import UserError
from kmodpipe.util.files import write_atomically
from kmodpipe.util.text import count

_SHORT = 12
_WORDS = {Side.GOOD: "good", Side.BAD: "bad", Side.SKIPPED: "skip"}


class Commits:
    """The commits of a range as states."""

    def __init__(self, commits: CommitRange, probe: Probe) -> None:
        self.range, self._probe = commits, probe

    def target(self, commit: str, *, exact: bool = False) -> Target:
        """Return the state that a commit is."""
        short, title = commit[:_SHORT], self.range.subject(commit)
        key = self.range.files_of(commit)
        if commit == self.range.good or key == self.range.files_of(self.range.good):
            return Target(short, title, key=key, exact=exact)
        try:
            patch = self.range.patch(commit)
        except OutputTooLarge:
            return Target(short, title, tree=self._tree(commit), key=key, exact=exact)
        where = f"{self.range.url} at {short}"
        name = f"commit-{short}"
        return Target(short, title, of_patch(name, f"{short}.patch", patch, where), key=key, exact=exact)

    def _tree(self, commit: str) -> TreeSpec:
        if self._probe.spec.own:
            raise UserError("the range changes more than a patch can hold", where=self.range.url)
        spec = TreeSpec(name=commit[:_SHORT], git=self.range.url, commit=commit)
        return spec

    def command(self, target: Target, cell: str, case: str) -> str:
        """Return the command that shows a commit: as the tree, or the module, that is tested."""
        spec = self._probe.spec
        full = self.range.run("rev-parse", "--verify", f"{target.name}^{{commit}}").text.strip()
        words = ["--series", "none"]
        words += ["--cell", _as_control(cell, target)] if cell else []
        words += ["--case", spec.case_arguments.get(case, case)]
        return f"{spec.repeat_command.replace(self.range.good, full)} {process.pasteable(words)}"


def _as_control(cell: str, target: Target) -> str:
    """Return a cell's id as it is where the commit is the tree that is tested."""
    variant = target.variant.name
    return f"unpatched{cell[len(variant) :]}" if cell.startswith(variant) else cell


def search(
    probe: Probe, commits: CommitRange, choices: Sequence[Choice], cases: Sequence[Case], policy: Policy
) -> Answer:
    """Run the case with the commits that git bisect chooses, until the first that matters is known."""
    states = Commits(commits, probe)
    good, bad = states.target(commits.good), states.target(commits.bad, exact=True)
    what = f"{commits.url} {good.name}..{bad.name}, {count(commits.count, 'commit')}"
    question = Question(Kind.COMMIT, what, good, bad, tuple(choices), tuple(cases), policy)
    begun = begin(probe, question, states.command, commits.count.bit_length())
    if isinstance(begun, Answer):
        return begun
    with probe.scratch() as folder:
        git = Bisection(commits, folder / "bisect.git")
        state = git.start()
        seen = {commits.good: begun.search.good, commits.bad: begun.search.bad}
        while isinstance(state, ToTry):
            commit = state.commit
            seen[commit] = _tried(begun, states, state)
            write_atomically(probe.folder.path / "bisect.log", git.log)
            state = git.mark(commit, _WORDS[seen[commit].side])
        write_atomically(probe.folder.path / "bisect.log", git.log)
    return _answer(begun, commits, state, seen)


def _tried(begun: Searched, states: Commits, state: ToTry) -> Seen:
    try:
        target = states.target(state.commit)
    except UserError as e:
        title = states.range.subject(state.commit)
        return begun.search.skip(state.commit[:_SHORT], title, e.sentence)
    return begun.search.try_one(target, state.steps_left + 1)


def _answer(begun: Searched, commits: CommitRange, state: First, seen: dict[str, Seen]) -> Answer:
    suspects = tuple(Suspect(commit, commits.subject(commit)) for commit in state.commits)
    if len(suspects) > 1:
        subject = f"one of {count(len(suspects), 'commit')}"
        between = [seen[c] for c in state.commits if c in seen and seen[c].side is Side.SKIPPED]
        last = seen.get(state.commits[-1])
        return begun.answer(subject, suspects, begun.search.good, last, between)
    first = state.commits[0]
    parents = [seen[p] for p in commits.parents(first) if p in seen and seen[p].side is Side.GOOD]
    before = parents[0] if parents else begun.search.good
    subject = f"commit {first[:_SHORT]} ({suspects[0].title})"
    return begun.answer(subject, suspects, before, seen.get(first, begun.search.bad))
