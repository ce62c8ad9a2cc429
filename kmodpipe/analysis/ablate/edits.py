"""Make the edits of a patched tree that are tried: a hunk left out, a mistake in a changed line. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256

from kmodpipe.analysis.ablate import operators, syntax
from kmodpipe.analysis.ablate.operators import Mutation
from kmodpipe.analysis.ablate.weave import Weave
from kmodpipe.series.changes import FileChange, Hunk, Origin, changed_lines, final_lines
from kmodpipe.util.digest import digest_of

HUNK = "hunk"
"""The kind of an edit that leaves a hunk out; the others are those of `operators.OPERATORS`."""
_MOST_TOLD = 4


@dataclass(frozen=True)
class Edit:
    """A change of the patched tree that some case should notice."""

    # 3.2 is the second hunk of the third patch; 3.2-constant-1 a mistake in a line of it.
    id: str
    kind: str
    # The hunks that are left out, the first one for its own sake; of a mistake the one that has the line.
    hunks: tuple[Origin, ...]
    # What each changed file becomes; None for one that is not there then.
    files: Mapping[str, bytes | None] = field(repr=False)
    path: str
    # In the file after the series.
    line: int
    function: str
    was: str
    becomes: str
    # What a case would have to observe.
    observe: tuple[str, ...]
    # The lines, after the series, that run differently: by path.
    touches: Mapping[str, frozenset[int]]
    # Whether it changes what is outside of functions, so that every case may see it.
    everywhere: bool = False
    # It changes no code: only comments, documentation, help texts.
    no_code: bool = False

    @property
    def digest(self) -> str:
        """The SHA-256 (hex) of what it changes the files to."""
        return digest_of({path: sha256(text).hexdigest() if text is not None else None
                          for path, text in self.files.items()})  # fmt: skip

    @property
    def slug(self) -> str:
        """The id as a part of a file's or a variant's name."""
        return self.id.replace(".", "-")


class Edits:
    """Makes the edits of one series on one tree."""

    def __init__(
        self, patches: Iterable[str], found: Sequence[FileChange], before: Callable[[str], bytes | None]
    ) -> None:
        """``patches`` are the names of the series' patches in order, ``found`` what they change, as
        `changes.placed` has it in the tree."""
        self.weave = Weave(found, before)
        self._order = {name: number for number, name in enumerate(patches, 1)}
        self._final = final_lines(found)
        self._owners = changed_lines(found)

    def label(self, origin: Origin) -> str:
        """Return a hunk's id: 3.2 for the second hunk of the third patch."""
        patch, number = origin
        return f"{self._order[patch]}.{number}"

    def origin(self, label: str) -> Origin | None:
        """Return the hunk of an id; None if there is none."""
        return next((one for one in map(_origin, self.weave.hunks) if self.label(one) == label), None)

    # -- hunks ---------------------------------------------------------------------------------------
    def hunks(self) -> tuple[Edit, ...]:
        """Return an edit for each hunk, in the order of the series."""
        return tuple(self.without([(hunk.patch, hunk.number)]) for hunk in self.weave.hunks)

    def without(self, some: Sequence[Origin]) -> Edit:
        """Return the edit that leaves hunks out, and those that do not apply without them."""
        first = some[0]
        hunk = self.weave.hunk(first)
        gone = self.weave.with_dependents(some)
        rest = sorted(gone - {first}, key=lambda one: (self._order[one[0]], one[1]))
        files = self.weave.without(gone)
        points = self._points(first)
        touches, everywhere = self._reach((first, *rest), files)
        line = min(touches.get(hunk.path, ()), default=hunk.new_first)
        added = min(
            (now for path, now in self._final.get(first, {}).values() if path == hunk.path), default=0
        )
        return Edit(
            self.label(first), HUNK, (first, *rest), files, hunk.path, added or line,
            points[0].function if points else _function(hunk), "", "",
            tuple(dict.fromkeys(point.observe for point in points))[:_MOST_TOLD],
            touches, everywhere,
            no_code=all(syntax.same_code(p, self.weave.content(p), text) for p, text in files.items()),
        )  # fmt: skip

    def _points(self, origin: Origin) -> list[Mutation]:
        """Return the mistakes that can be made in what is left of a hunk's lines."""
        own: dict[str, set[int]] = {}
        for path, line in self._final.get(origin, {}).values():
            own.setdefault(path, set()).add(line)
        return [
            one
            for path, lines in own.items()
            if syntax.is_c(path)
            for one in operators.mutations(path, self.weave.content(path) or b"", lines)
        ]

    def _reach(
        self, gone: Sequence[Origin], files: Mapping[str, bytes | None]
    ) -> tuple[Mapping[str, frozenset[int]], bool]:
        """Return the lines that run differently without hunks, and whether some of that is outside of
        functions."""
        touches: dict[str, frozenset[int]] = {}
        everywhere = False
        for path, then in files.items():
            now = self.weave.content(path)
            if now is None or not syntax.is_c(path):
                everywhere = True
                continue
            own = {line for one in gone for where, line in self._final.get(one, {}).values() if where == path}
            around = _around(now, then)
            touches[path] = frozenset(own | around)
            everywhere = everywhere or not syntax.all_inside(now, own or around)
        return touches, everywhere

    # -- mistakes ------------------------------------------------------------------------------------
    def mistakes(self) -> tuple[Edit, ...]:
        """Return an edit for each mistake in a line that the series adds or changes."""
        return tuple(self._mistakes())

    def _mistakes(self) -> Iterator[Edit]:
        counts: dict[tuple[Origin, str], int] = {}
        for path, lines in self._owners.items():
            content = self.weave.content(path)
            if content is None or not syntax.is_c(path):
                continue
            for one in operators.mutations(path, content, lines):
                origin = lines[one.line]
                number = counts[origin, one.operator] = counts.get((origin, one.operator), 0) + 1
                made = one.applied(content)
                yield Edit(
                    f"{self.label(origin)}-{one.operator}-{number}", one.operator, (origin,), {path: made},
                    path, one.line, one.function, one.was, one.becomes, (one.observe,),
                    {path: frozenset({one.line})},
                    everywhere=not one.function,
                    no_code=syntax.same_code(path, content, made),
                )  # fmt: skip

    # -- diffs ---------------------------------------------------------------------------------------
    def diff(self, edit: Edit) -> bytes:
        """Return an edit as a patch on top of the series."""
        parts = [_diff(path, self.weave.content(path), text) for path, text in edit.files.items()]
        return "".join(parts).encode("utf-8", "surrogateescape")


def _origin(hunk: Hunk) -> Origin:
    return hunk.patch, hunk.number


def _function(hunk: Hunk) -> str:
    """Return what stands behind the second @@, if that is a function."""
    head, bracket, _ = hunk.header.partition("(")
    return head.split()[-1].lstrip("*") if bracket and head.split() else ""


def _around(now: bytes, then: bytes | None) -> frozenset[int]:
    """Return the lines of ``now`` that border on what differs, and those that differ themselves."""
    old, new = now.split(b"\n"), (then or b"").split(b"\n")
    found: set[int] = set()
    for tag, first, last, _, _ in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if tag != "equal":
            found |= set(range(first, last + 2))
    return frozenset(line for line in found if 1 <= line <= len(old))


def _diff(path: str, before: bytes | None, after: bytes | None) -> str:
    """Return the diff of one file as git writes it."""
    old, new = (_text_lines(content or b"") for content in (before, after))
    head = f"diff --git a/{path} b/{path}\n"
    if before is None:
        head += "new file mode 100644\n"
    if after is None:
        head += "deleted file mode 100644\n"
    names = "/dev/null" if before is None else f"a/{path}", "/dev/null" if after is None else f"b/{path}"
    rows = difflib.unified_diff(old, new, *names, n=3)
    return head + "".join(
        row if row.endswith("\n") else f"{row}\n\\ No newline at end of file\n" for row in rows
    )


def _text_lines(content: bytes) -> list[str]:
    text = content.decode("utf-8", "surrogateescape")
    lines = [f"{line}\n" for line in text.split("\n")]
    lines[-1] = lines[-1].removesuffix("\n")
    return lines if lines[-1] else lines[:-1]


def grown(edit: Edit, edits: Edits, more: Iterable[Origin]) -> Edit:
    """Return the edit that leaves further hunks out as well."""
    made = edits.without([*edit.hunks, *(one for one in more if one not in edit.hunks)])
    return replace(made, id=edit.id)
