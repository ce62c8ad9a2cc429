"""`invoke ci --if-changed`: skip a scheduled run if nothing has changed since the last one.

    CACHE/answers/<question>.json    the last run of one command line: what it tested, and its result

The question is the command line. Its answer is valid as long as everything that can change a verdict is the
same: what `kmodpipe.pipeline.question` finds in the run's records and files, the tree's identity, the builder
image and QEMU. A run would then build and boot the same again. So it is skipped, and the exit code is the
earlier one, also if that was a failure. Every ``invoke ci`` that ends writes an answer; after one without a
verdict (an infrastructure error) the next runs again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from kmodpipe import results, source
from kmodpipe.build import builder_image
from kmodpipe.build.runtime import HostRuntime, docker_engine
from kmodpipe.cache.share import open_share
from kmodpipe.cache.store import Store
from kmodpipe.pipeline import question, workspace
from kmodpipe.pipeline.run_spec import RunSpec
from kmodpipe.pipeline.workspace import Workspace
from kmodpipe.results import Run
from kmodpipe.source import TreeSpec, Unreachable, kernels
from kmodpipe.source.git import commit_of
from kmodpipe.source.kernels import KernelSource
from kmodpipe.util import document
from kmodpipe.util.digest import digest_of
from kmodpipe.util.errors import ExitCode, InfraError
from kmodpipe.util.files import write_atomically
from kmodpipe.util.screen import Screen
from kmodpipe.util.text import one_line
from kmodpipe.vm import accel
from kmodpipe.vm.qemu import program_digest

SCHEMA = "kmodpipe-answer"
VERSION = 2
_NOTE_LIMIT = 2000
_WORDS = {
    **question.WORDS,
    results.OWN_IDENTITY: "the module's own source",
    "qemu": "QEMU",
    "qemu.file": "QEMU's program",
    "kvm": "the KVM device",
}
_AUTHORS = 5
_TREE = re.compile(r"tree\.(?:(.+)\.)?identity")


@dataclass(frozen=True)
class Answer:
    """The result of a run, and the facts under which it is valid."""

    run: str
    # ISO 8601, UTC.
    finished: str
    exit_code: int
    totals: Mapping[str, int]
    # What the run tested, and with what; see `Watch._facts`.
    facts: Mapping[str, str]

    @property
    def verdict(self) -> str:
        """The counts in words."""
        counts = (("pass", "passed"), ("fail", "failed"), ("error", "without verdict"), ("skip", "skipped"))
        text = ", ".join(f"{self.totals[key]} {word}" for key, word in counts if self.totals.get(key))
        return f"{text}, exit {self.exit_code}"


class Watch:
    """Compares a scheduled run with the last one of the same command line."""

    def __init__(self, spec: RunSpec, cache: Path, screen: Screen) -> None:
        self._spec = spec
        self._cache = cache
        self._screen = screen
        self._path = cache / "answers" / f"{digest_of(dict(spec.question))[:32]}.json"
        # As it is before the run: the user may edit files meanwhile, which are then changes for the next run.
        self._asked = question.facts(spec)
        self.last = _load(self._path)

    def unchanged(self) -> Answer | None:
        """Return the last answer if a run would test the same; else print why not, and return None.

        Asks servers for the tree's head and the builder image; builds and boots nothing.
        """
        last = self.last
        if last is None:
            self._screen.say("no earlier run of this command line is known here: running")
            return None
        if last.exit_code not in (ExitCode.OK, ExitCode.FAILURE):
            self._screen.say(f"run {last.run} came to no verdict ({last.verdict}): running again")
            return None
        if changed := _changed(last.facts, self._facts(self._identities(), self._own(), self._builder())):
            self._screen.say(f"changed since run {last.run}: {changed}")
            return None
        return last

    def report(self, answer: Answer) -> int:
        """Print that nothing changed since *answer*; return its exit code."""
        text = f"nothing changed since run {answer.run} of {answer.finished}: nothing is built"
        self._screen.print(f"{text}\n  its verdict: {answer.verdict}\n  written in: {self._path}")
        if answer.exit_code:
            self._screen.print(
                "  it failed then, and fails still: an unchanged failure does not become a success"
            )
        return answer.exit_code

    def changes(self, workspace: Workspace) -> Mapping[str, str]:
        """Return what has changed since the last run, as properties of the new one; print new commits."""
        if self.last is None:
            return {}
        now = self._facts(_identities_of(workspace), _own_of(workspace), _builder_of(workspace))
        notes = {"since.run": self.last.run, "since.changed": _changed(self.last.facts, now) or "nothing"}
        for kernel in workspace.kernels:
            name = results.of_tree("identity", kernel.name)
            old, new = self.last.facts.get(name, ""), kernel.source.identity
            spec = dict(self._spec.kernels)[kernel.name]
            url = spec.git if isinstance(spec, TreeSpec) else None
            if url and old != new and old.startswith("git:") and new.startswith("git:"):
                notes |= self._commits(kernel.name, url, old[4:], new[4:])
        return notes

    def _commits(self, kernel: str, url: str, old: str, new: str) -> Mapping[str, str]:
        """Print the commits of a kernel's tree from *old* to *new*; return them as properties."""
        try:
            found = source.commits_between(url, self._cache, old, new, self._screen)
        except InfraError as e:
            self._screen.warn(f"which commits came in is not known: {e.what}")
            return {}
        span = f"{old[:12]}..{new[:12]}"
        if found.whole:
            title = f"{found.count} {'commit' if found.count == 1 else 'commits'} came in ({span})"
        else:
            title = f"{span} is no direct line: the branch was rewound, or moved on far; its newest commits"
        title = f"{kernel}: {title}" if kernel else title
        shown = [*found.lines, *([f"… and {found.count - len(found.lines)} more"] if found.whole else [])]
        if found.whole and found.count <= len(found.lines):
            shown = list(found.lines)
        self._screen.print(title + ":\n" + "\n".join(f"  {line}" for line in shown))
        if len(found.authors) > 1:
            more = f" and {len(found.authors) - _AUTHORS} more" if len(found.authors) > _AUTHORS else ""
            self._screen.print(f"  by: {', '.join(found.authors[:_AUTHORS])}{more}")
        name = ".".join(filter(None, ("since", kernel, "commits")))
        return {name: one_line(f"{title}: " + "; ".join(found.lines))[:_NOTE_LIMIT]}

    def record(self, workspace: Workspace, run: Run) -> None:
        """Write the result of a run, for the next one to compare with."""
        facts = self._facts(_identities_of(workspace), _own_of(workspace), _builder_of(workspace))
        answer = {
            "run": run.id,
            "finished": run.finished,
            "exit_code": int(results.exit_code(run)),
            "totals": results.totals(run),
            "facts": facts,
        }
        made = {"schema": SCHEMA, "version": VERSION, "answer": answer}
        write_atomically(self._path, json.dumps(made, indent=1, sort_keys=True))

    # -- the facts of an answer ------------------------------------------------------------------
    def _facts(self, trees: Mapping[str, str], own: str, builder: str) -> Mapping[str, str]:
        """Return all facts that a result depends on. *trees*, by kernel, the module's *own* source, empty
        for one of a tree, and *builder* are identities."""
        return {
            **self._asked,
            **{results.of_tree("identity", kernel): identity for kernel, identity in trees.items()},
            **({results.OWN_IDENTITY: own} if own else {}),
            "builder": builder,
            **accel.machine(),
            "qemu.file": program_digest(),
        }

    def _identities(self) -> Mapping[str, str]:
        """Return the identity of each kernel's tree as it is now; the head of a branch is looked up, not
        fetched."""
        spec = self._spec
        found: dict[str, str] = {}
        for kernel, tree in spec.kernels:
            try:
                if commit := kernels.tip(tree, head=spec.head):
                    found[kernel] = f"git:{commit}"
            except Unreachable:
                if spec.head or not (isinstance(tree, TreeSpec) and tree.stand_in):
                    raise
            if kernel not in found:
                found |= _ids(workspace.fetch_kernels(spec.on(kernel), self._cache, self._screen))
        return found

    def _own(self) -> str:
        """Return the identity of a module's own source as it is now; empty for a folder of the tree."""
        own = self._spec.own
        if own and (commit := source.tip(own.spec)):
            return f"git:{commit}"
        found = workspace.fetch_module(self._spec, self._cache, self._screen)
        return found.identity if found else ""

    def _builder(self) -> str:
        """Return the identity of the compiler or builder image; '' if the image has to be built first."""
        images = self._spec.project.images
        if self._spec.runtime == "host":
            return digest_of(dict(HostRuntime().identity()))
        share = open_share(self._spec.share, Store(self._cache), self._screen)
        shared = share.image(builder_image.tag(images).partition(":")[2]) if share else None
        return shared[0] if shared else builder_image.find(docker_engine.connect(), images) or ""


def _changed(before: Mapping[str, str], now: Mapping[str, str]) -> str:
    """Return the names of the facts that differ or are not known now; '' if there are none."""
    names = [n for n in {**before, **now} if before.get(n, "") != now.get(n, "") or not now.get(n, "")]
    return ", ".join(_describe(name, before.get(name, ""), now.get(name, "")) for name in names)


def _describe(name: str, before: str, now: str) -> str:
    """Return in words which fact changed."""
    if tree := _TREE.fullmatch(name):
        return f"the tree {tree[1] or ''}".rstrip() + f" ({_short(before)} → {_short(now)})"
    if name == "builder":
        return "the builder image" if now else "the builder image (it is not here)"
    word = _WORDS.get(name, name.replace(".", " ", 1))
    return word if before and now else f"{word} ({'new' if now else 'gone'})"


def _short(identity: str) -> str:
    kind, _, rest = identity.partition(":")
    return rest[:12] if kind == "git" else identity[:60]


def _identities_of(workspace: Workspace) -> Mapping[str, str]:
    return _ids(workspace.sources)


def _own_of(workspace: Workspace) -> str:
    identity, own = workspace.own_identity, workspace.spec.own
    # Of a branch, what its server says without a fetch: the commit, without submodules.
    return f"git:{commit_of(identity)}" if own and own.spec.moves else identity


def _ids(trees: Mapping[str, KernelSource]) -> Mapping[str, str]:
    return {kernel: tree.identity for kernel, tree in trees.items()}


def _builder_of(workspace: Workspace) -> str:
    return workspace.identity.get("image") or digest_of(dict(workspace.identity))


def _load(path: Path) -> Answer | None:
    """Return the answer in a file, None if there is none that can be read."""
    try:
        found = document.read_object(path)
        if found["schema"] != SCHEMA or found["version"] != VERSION:
            return None
        answer = found["answer"]
        return Answer(
            str(answer["run"]), str(answer["finished"]), int(answer["exit_code"]),
            {str(k): int(v) for k, v in answer["totals"].items()},
            {str(k): str(v) for k, v in answer["facts"].items()},
        )  # fmt: skip
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
