"""Let git bisect choose the commits to try.

git works in a private, bare repository, which borrows the objects of the range's and is removed afterwards.
It has no work tree, no hooks and no settings but ours, so nothing of a commit is checked out or run.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from kmodpipe.source.commit_range import CommitRange, run_in
from kmodpipe.source.git_command import make_bare
from kmodpipe.util import process
from kmodpipe.util.errors import InfraError
from kmodpipe.util.files import write_atomically

_LEFT = re.compile(r"^Bisecting: (\d+) revisions? left to test after this \(roughly (\d+) steps?\)", re.M)
# What git writes into its log; the same words since git 1.7.
_FOUND = re.compile(r"^# first bad commit: \[([0-9a-f]{40})\]", re.M)
_POSSIBLE = re.compile(r"^# possible first bad commit: \[([0-9a-f]{40})\]", re.M)


@dataclass(frozen=True)
class ToTry:
    """A commit to try next."""

    commit: str
    # How many more steps there are after it, roughly.
    steps_left: int


@dataclass(frozen=True)
class First:
    """The first bad commit; several if what is between could not be tried."""

    commits: tuple[str, ...]


State = ToTry | First


class Bisection:
    """One search by git bisect, in a folder of its own."""

    def __init__(self, commits: CommitRange, folder: Path) -> None:
        """``folder`` does not exist yet."""
        self._range, self._repository = commits, folder
        make_bare(folder)
        objects = commits.repository / "objects"
        (folder / "objects" / "info").mkdir(exist_ok=True)
        write_atomically(folder / "objects" / "info" / "alternates", f"{objects}\n")
        cut = commits.repository / "shallow"
        if cut.is_file():
            write_atomically(folder / "shallow", cut.read_text())

    def start(self) -> State:
        """Begin with both ends of the range."""
        run_in(self._repository, "update-ref", "--no-deref", "HEAD", self._range.bad)
        return self._bisect("start", "--no-checkout", self._range.bad, self._range.good)

    def mark(self, commit: str, word: str) -> State:
        """Say of a commit that it is ``good`` or ``bad``, or that it cannot be tried: ``skip``."""
        return self._bisect(word, commit)

    @property
    def log(self) -> str:
        """What `git bisect replay` takes."""
        return (self._repository / "BISECT_LOG").read_text("utf-8", "replace")

    def _bisect(self, *args: str) -> State:
        done = run_in(self._repository, "bisect", *args, check=False)
        log = self.log if (self._repository / "BISECT_LOG").is_file() else ""
        if found := _FOUND.search(log):
            return First((found[1],))
        if done.returncode == 2 and (possible := _POSSIBLE.findall(log)):
            # git lists the newest first.
            return First(tuple(dict.fromkeys(reversed(possible))))
        commit = self._head()
        if done.returncode or not commit:
            raise InfraError(
                f"git bisect {args[0]} {process.describe_status(done.returncode)}",
                where=process.pasteable(done.argv),
                detail=f"{done.text}\n{done.tail}".strip(),
                hint="this is not foreseen: please report it with these lines",
            )
        left = _LEFT.search(done.text)
        return ToTry(commit, int(left[2]) if left else 0)

    def _head(self) -> str:
        done = run_in(self._repository, "rev-parse", "--verify", "--quiet", "BISECT_HEAD", check=False)
        return done.text.strip() if done.returncode == 0 else ""
