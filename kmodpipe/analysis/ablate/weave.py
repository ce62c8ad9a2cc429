"""Leave hunks out of a patched tree. Pure.

Each file that a series changes is kept as every line that it ever had, with the hunk that added it and the
one that removed it (a weave, as SCCS keeps versions). So the file without any set of hunks is read off, also
where a later patch moved its lines, or has them as context, and `git apply --reverse` would refuse.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from kmodpipe.series.changes import FileChange, Hunk, Origin


@dataclass
class _Line:
    text: str
    added: Origin | None = None
    removed: Origin | None = None

    def is_in(self, without: frozenset[Origin]) -> bool:
        """Return whether the file has the line if these hunks are left out."""
        return (self.added is None or self.added not in without) and (
            self.removed is None or self.removed in without
        )


@dataclass
class _File:
    path: str
    lines: list[_Line] = field(default_factory=list)
    # The hunk that made the file, and the one that removed it.
    maker: Origin | None = None
    remover: Origin | None = None


class Weave:
    """The files that a series changes, as they are with and without its hunks."""

    def __init__(self, found: Iterable[FileChange], before: Callable[[str], bytes | None]) -> None:
        """``found`` are the changes of a series with the line numbers that they have in the tree (see
        `changes.placed`); ``before`` gives the content of a file of the tree without the series."""
        self._files: dict[str, _File] = {}
        self._hunks: dict[Origin, Hunk] = {}
        # By hunk: those that have to be left out with it.
        self._needed: dict[Origin, set[Origin]] = {}
        for change in found:
            file = self._opened(change, before)
            shift = 0
            for hunk in change.hunks:
                self._hunks[hunk.patch, hunk.number] = hunk
                self._weave(file, hunk, shift)
                shift += hunk.delta
            self._closed(change, file)

    def _opened(self, change: FileChange, before: Callable[[str], bytes | None]) -> _File:
        """Return the file that a patch changes, as it is before the patch."""
        old = change.old_path
        if not old:
            return _File(change.path, maker=_first(change))
        if old not in self._files:
            self._files[old] = _File(old, [_Line(text) for text in _lines(before(old) or b"")])
        if change.is_copy:
            live = (line for line in self._files[old].lines if line.is_in(frozenset()))
            return _File(change.path, [_Line(line.text) for line in live], maker=_first(change))
        return self._files[old]

    def _closed(self, change: FileChange, file: _File) -> None:
        """Keep the file by its name after the patch."""
        if not change.path:
            file.remover = _first(change)
            return
        if change.old_path and change.old_path != change.path and not change.is_copy:
            del self._files[change.old_path]
        file.path = change.path
        self._files[change.path] = file

    def _weave(self, file: _File, hunk: Hunk, shift: int) -> None:
        """Mark the lines that a hunk removes, and put in those that it adds."""
        me = (hunk.patch, hunk.number)
        needs: set[Origin] = {file.maker} if file.maker and file.maker != me else set()
        at = self._index(file, hunk.old_first + shift)
        behind: Origin | None = file.lines[at - 1].added if at else None
        fresh: list[_Line] = []
        body = hunk.body
        for number, line in enumerate(body):
            if line[:1] == "\\":
                continue
            bare = body[number + 1 : number + 2] and body[number + 1][:1] == "\\"
            text = line[1:] + ("" if bare else "\n")
            if line[:1] == "+":
                fresh.append(_Line(text, added=me))
                file.lines.insert(at, fresh[-1])
                at += 1
                continue
            while at < len(file.lines) and not file.lines[at].is_in(frozenset()):
                at += 1
            own = file.lines[at]
            if line[:1] == "-":
                own.removed = me
                if own.added and own.added != me:
                    needs.add(own.added)
            elif fresh and own.added and own.added == behind:
                # Lines in the midst of what another hunk added have no place without it.
                needs.add(own.added)
            if line[:1] == " ":
                behind, fresh = own.added, []
            at += 1
        for other in needs - {me}:
            self._needed.setdefault(other, set()).add(me)

    @staticmethod
    def _index(file: _File, first: int) -> int:
        """Return where the line with this number is, counted in the lines that are there now."""
        count = 0
        for index, line in enumerate(file.lines):
            if line.is_in(frozenset()):
                count += 1
                if count == first:
                    return index
        return len(file.lines)

    @property
    def hunks(self) -> tuple[Hunk, ...]:
        """All hunks, in the order of the series."""
        return tuple(self._hunks.values())

    def hunk(self, origin: Origin) -> Hunk:
        """Return a hunk by its patch and number."""
        return self._hunks[origin]

    def with_dependents(self, some: Iterable[Origin]) -> frozenset[Origin]:
        """Return hunks with those that change what they add, and so do not apply without them."""
        found, pending = set[Origin](), list(some)
        while pending:
            one = pending.pop()
            if one not in found:
                found.add(one)
                pending += self._needed.get(one, ())
        return frozenset(found)

    def content(self, path: str, without: frozenset[Origin] = frozenset()) -> bytes | None:
        """Return a file without these hunks; None if it is not there then."""
        file = self._files[path]
        if file.maker in without or (file.remover and file.remover not in without):
            return None
        text = "".join(line.text for line in file.lines if line.is_in(without))
        return text.encode("utf-8", "surrogateescape")

    def without(self, hunks: frozenset[Origin]) -> Mapping[str, bytes | None]:
        """Return the files that differ if these hunks are left out."""
        made = {path: self.content(path, hunks) for path in self._files}
        return {path: text for path, text in made.items() if text != self.content(path)}

    def whole(self) -> Mapping[str, bytes | None]:
        """Return the files with all hunks."""
        return {path: self.content(path) for path in self._files}

    def origins(self, path: str, without: frozenset[Origin] = frozenset()) -> Sequence[Origin | None]:
        """Return the hunk that added each line of a file without these hunks; None for the tree's lines."""
        if path not in self._files:
            return ()
        return [line.added for line in self._files[path].lines if line.is_in(without)]


def _first(change: FileChange) -> Origin | None:
    return (change.hunks[0].patch, change.hunks[0].number) if change.hunks else None


def _lines(content: bytes) -> list[str]:
    # Not splitlines: a form feed ends no line of a diff.
    text = content.decode("utf-8", "surrogateescape")
    lines = [f"{line}\n" for line in text.split("\n")]
    lines[-1] = lines[-1].removesuffix("\n")
    return lines if lines[-1] else lines[:-1]
