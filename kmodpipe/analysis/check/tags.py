"""Check the message of a patch: subject, Signed-off-by and Fixes (process/submitting-patches.rst). Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from kmodpipe.analysis.check.model import TAGS, Finding, Level, Outcome
from kmodpipe.series.model import Patch
from kmodpipe.series.numbering import tag_of

_SIGNED = re.compile(r"^\s*signed[- ]off[- ]by\b\s*:?\s*(?P<who>.*)$", re.IGNORECASE)
_SIGNED_RIGHT = re.compile(r"^Signed-off-by: \S.* <[^<>\s]+@[^<>\s]+>(?: *[#\[(].*)?$")
_ADDRESS = re.compile(r"<\s*([^<>\s]+@[^<>\s]+)\s*>")
_FIXES = re.compile(r"^\s*fixes\s*:?\s*(?:commit\s+)?(?P<sha>[0-9a-f]{5,40})\b(?P<rest>.*)$", re.IGNORECASE)
_FIXES_RIGHT = re.compile(r'^Fixes: [0-9a-f]{12,40} \(".+"\)$')
_FIXES_OTHER = re.compile(r"^Fixes: *(?P<what>\S.*)$")
_QUOTED = re.compile(r'\(\s*"(?P<subject>.*)"\s*\)?')
_STABLE = re.compile(r"^cc:.*\bstable@(?:vger\.)?kernel\.org", re.IGNORECASE | re.MULTILINE)
_SUBJECT_MOST = 75


@dataclass(frozen=True)
class Commits:
    """The commits that a tree's history has."""

    # Returns the subject of the only commit whose name begins so, None if there is none.
    subject: Callable[[str], str | None] = lambda sha: None
    # Why commits are not looked up, or why one that is not found may exist; empty if the history is whole.
    unknown: str = ""


def check(patch: Patch, commits: Commits) -> Outcome:
    """Return what there is to say of a patch's message."""
    if patch.is_bare:
        return Outcome(TAGS.id, skipped="a bare diff has no message")
    found = [*_message(patch), *_signed(patch), *_fixes(patch, commits)]
    order = list(Level)
    return Outcome(TAGS.id, tuple(sorted(found, key=lambda one: order.index(one.level))))


def _message(patch: Patch) -> Iterator[Finding]:
    subject = tag_of(patch.subject).bare
    if not subject:
        yield Finding(Level.WARNING, "the patch has no subject", "subject")
    elif len(subject) > _SUBJECT_MOST:
        yield Finding(Level.NOTE, f"the subject has {len(subject)} characters, of 75 at most", "subject")
    if subject and not re.match(r"[^\s:][^:]*: ", subject):
        yield Finding(Level.NOTE, "the subject names no subsystem: 'ovl: what changes'", "subject")
    if subject.endswith("."):
        yield Finding(Level.NOTE, "the subject ends with a full stop", "subject")
    if not any(line.strip() and not _is_trailer(line) for line in patch.text.splitlines()):
        yield Finding(Level.WARNING, "the patch has no message that says why", "message")


def _is_trailer(line: str) -> bool:
    return re.match(r"\s*[A-Z][A-Za-z-]+:\s", line) is not None


def _signed(patch: Patch) -> Iterator[Finding]:
    lines = [line for line in patch.text.splitlines() if _SIGNED.match(line)]
    if not lines:
        yield Finding(Level.ERROR, "there is no Signed-off-by", "signed-off-by")
        return
    for line in lines:
        if not _SIGNED_RIGHT.match(line):
            text = f"Signed-off-by: NAME <ADDRESS> is expected, not {line.strip()[:100]!r}"
            yield Finding(Level.WARNING, text, "signed-off-by")
    author = patch.author
    if author and not any(_same(author, line) for line in lines):
        text = f"the author, {author[:100]}, has not signed it off"
        yield Finding(Level.WARNING, text, "signed-off-by")


def _same(author: str, line: str) -> bool:
    """Return whether a Signed-off-by is the author's: by address, or by name."""
    mine, signed = _ADDRESS.search(author), _ADDRESS.search(line)
    if mine and signed and mine[1].lower() == signed[1].lower():
        return True
    name = author.partition("<")[0].strip().strip('"').lower()
    who = _SIGNED.match(line)
    return bool(name) and who is not None and who["who"].partition("<")[0].strip().strip('"').lower() == name


def _fixes(patch: Patch, commits: Commits) -> Iterator[Finding]:
    any_tag = False
    for line in patch.text.splitlines():
        match = _FIXES.match(line)
        if match and (line.startswith(("Fixes:", "fixes:", "FIXES:")) or _FIXES_RIGHT.match(line.strip())):
            any_tag = True
            yield from _one(line.rstrip(), match["sha"].lower(), match["rest"], commits)
        elif other := _FIXES_OTHER.match(line):
            any_tag = True
            text = (
                f'Fixes: names a commit, COMMIT ("SUBJECT"), not {other["what"][:80]!r}; a report has Closes:'
            )
            yield Finding(Level.WARNING, text, "fixes")
    if not any_tag and _STABLE.search(patch.text):
        yield Finding(Level.NOTE, "it is for stable kernels, and has no Fixes", "fixes")


def _one(line: str, sha: str, rest: str, commits: Commits) -> Iterator[Finding]:
    subject = commits.subject(sha)
    right = f'Fixes: {sha[:12]} ("{subject}")' if subject and len(sha) >= 12 else ""
    if not _FIXES_RIGHT.match(line):
        hint = (
            f"write {right}"
            if right
            else 'write Fixes: COMMIT ("SUBJECT") on one line, with 12 digits or more'
        )
        yield Finding(Level.WARNING, f"{line[:100]!r} is not as tools read it: {hint}", "fixes")
    if subject is None:
        if commits.unknown:
            yield Finding(Level.NOTE, f"commit {sha[:12]} was not looked up: {commits.unknown}", "fixes")
        else:
            yield Finding(Level.WARNING, f"the tree's history has no commit {sha[:12]}", "fixes")
        return
    quoted = _QUOTED.search(rest)
    if quoted and quoted["subject"] != subject:
        yield Finding(Level.WARNING, f"commit {sha[:12]} has another subject: {subject[:120]!r}", "fixes")
