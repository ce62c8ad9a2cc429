"""Take the patches of a series from mails or files: all of them, once each, in order, or an error.

The n/m in the subjects decides: ``[PATCH v2 1/3]``, ``[RFC,1/3]``, ``[1/3]``. It is looked for in brackets
before the subject: "1/3" in its text is none.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from kmodpipe.series.mail import Item
from kmodpipe.util.errors import UserError

_BRACKETS = re.compile(r"\s*\[([^\[\]]*)\]")
_NUMBER = re.compile(r"(\d{1,4})/(\d{1,4})", re.ASCII)
_VERSION = re.compile(r"(?:patch|rfc)?-?v(\d{1,3})", re.IGNORECASE | re.ASCII)
_FILE_NUMBER = re.compile(r"(?:v\d+-)?(\d+)", re.ASCII)
_HINT = "give all of its patches, and nothing else"


class Order(enum.Enum):
    """What the order of the items says."""

    # A series file lists them.
    LISTED = enum.auto()
    # They are files of a folder, sorted by their names.
    NAMED = enum.auto()
    # They are mails; their order says nothing.
    MAILS = enum.auto()


@dataclass(frozen=True)
class Tag:
    """What the brackets before a subject say."""

    # The subject without them.
    bare: str
    # n and m; (0, 0) if there are none.
    number: int = 0
    count: int = 0
    version: int = 1
    resent: bool = False
    # Whether it says PATCH or RFC, or has a number.
    is_patch: bool = False

    @property
    def is_cover(self) -> bool:
        """Whether it is that of a cover letter."""
        return self.count > 0 and self.number == 0

    @property
    def revision(self) -> tuple[int, bool]:
        """What orders the versions of a series."""
        return self.version, self.resent


@dataclass(frozen=True)
class Selection:
    """The patches of a series in order, its cover letter, and what was left out."""

    patches: tuple[Item, ...]
    cover: Item | None
    notices: tuple[str, ...]


def tag_of(subject: str) -> Tag:
    """Return what the brackets before a subject say."""
    number = count = 0
    version, resent, is_patch, at = 1, False, False, 0
    while match := _BRACKETS.match(subject, at):
        at = match.end()
        for word in re.split(r"[\s,;]+", match[1]):
            if found := _NUMBER.fullmatch(word):
                number, count, is_patch = int(found[1]), int(found[2]), True
            elif found := _VERSION.fullmatch(word):
                version = int(found[1])
            resent = resent or word.lower() in ("resend", "repost")
            is_patch = is_patch or word.lower().startswith(("patch", "rfc"))
    return Tag(subject[at:].strip(), number, count, version, resent, is_patch)


def select(items: Sequence[Item], order: Order, where: str) -> Selection:
    """Return the series that the items hold.

    Raise UserError if a patch is missing, is there twice or carries no diff, if there are several series, or
    if the order of the files contradicts the subjects.
    """
    notices: list[str] = []
    fresh = _without_replies(items, order, where, notices)
    if order is not Order.LISTED:
        fresh = _newest(_once(fresh, notices), where, notices)
    tags = [(tag_of(one.subject), one) for one in fresh]
    covers = [one for tag, one in tags if not one.diff and (tag.is_cover or _is_cover_file(one))]
    if len(covers) > 1:
        raise UserError(
            f"it holds {len(covers)} cover letters: {_quoted(covers)}",
            where=where,
            hint="give one series at a time",
        )
    for tag, one in tags:
        if tag.count and tag.number > tag.count:
            raise UserError(
                f"its subject counts to {tag.number}/{tag.count}: {one.subject!r}", where=one.where
            )
        if tag.count and tag.number and not one.diff:
            raise UserError(
                f"patch {tag.number} of {tag.count} carries no diff: {one.subject!r}",
                where=one.where,
                hint="was an attachment lost? A patch that changes nothing cannot be applied",
            )
    rows = [(tag, one) for tag, one in tags if one.diff or (order is not Order.MAILS and one not in covers)]
    if covers and not rows:
        raise UserError(
            f"it holds a cover letter without its patches: {_quoted(covers)}", where=where, hint=_HINT
        )
    if covers and not any(tag.count for tag, _ in rows):
        count = tag_of(covers[0].subject).count
        if count and count != len(rows):
            raise UserError(
                f"its cover letter counts {count} patches, and {len(rows)} are there", where=where
            )
    patches = _ordered(rows, order, where)
    return Selection(tuple(patches), covers[0] if covers else None, tuple(notices))


def _is_cover_file(item: Item) -> bool:
    return "cover-letter" in item.path.name or item.path.suffix == ".cover"


def _quoted(items: Iterable[Item]) -> str:
    return ", ".join(repr(one.subject or one.name) for one in items)


# -- what is left out --------------------------------------------------------------------------------
def _without_replies(items: Sequence[Item], order: Order, where: str, notices: list[str]) -> list[Item]:
    """Return the items that are no replies; the one reply with a diff if there is nothing else."""
    if order is Order.LISTED:
        return list(items)
    fresh = [one for one in items if not one.is_reply]
    if any(one.diff for one in fresh):
        if ignored := [one for one in items if one.is_reply and one.diff]:
            notices.append(f"the diffs in replies are not part of the series: {_quoted(ignored)}")
        return fresh
    replies = [one for one in items if one.is_reply and one.diff]
    if len(replies) > 1:
        raise UserError(
            f"it holds {len(replies)} replies with a diff, and no patch: {_quoted(replies)}",
            where=where,
            hint="give one of them in a file of its own",
        )
    if replies:
        notices.append(f"the patch is from a reply: {_quoted(replies)}")
    return [*fresh, *replies]


def _once(items: list[Item], notices: list[str]) -> list[Item]:
    """Return the items without further copies of one mail, as a list and a Cc deliver it."""
    kept: list[Item] = []
    for one in items:
        same = [
            k for k in kept if one.message_id and k.message_id == one.message_id and k.subject == one.subject
        ]
        if any(k.diff == one.diff for k in same):
            notices.append(f"the mail {one.message_id} is there twice")
        else:
            kept.append(one)
    return kept


def _newest(items: list[Item], where: str, notices: list[str]) -> list[Item]:
    """Return the items of the newest version, with the mails that carry no patch and are no cover letter."""
    tags = {id(one): tag_of(one.subject) for one in items}
    posted = [one for one in items if tags[id(one)].count or (one.diff and tags[id(one)].is_patch)]
    revisions = sorted({tags[id(one)].revision for one in posted})
    if len(revisions) < 2:
        return items
    newest = [one for one in posted if tags[id(one)].revision == revisions[-1]]
    older = [one for one in posted if tags[id(one)].revision != revisions[-1]]
    names = {tags[id(one)].bare.lower() for one in newest}
    ids = {one.message_id for one in older} - {""}
    related = any(tags[id(one)].bare.lower() in names for one in older) or any(
        ids & {*one.references} for one in newest
    )
    if not related:
        raise UserError(
            f"it holds several series: {_quoted([older[0], newest[0]])}",
            where=where,
            hint="give one at a time",
        )
    shown = [f"v{version}{' resent' if resent else ''}" for version, resent in revisions]
    notices.append(f"{' and '.join(shown)} are there: {shown[-1]} is tested")
    return [one for one in items if one not in older]


# -- order -------------------------------------------------------------------------------------------
def _ordered(rows: list[tuple[Tag, Item]], order: Order, where: str) -> list[Item]:
    """Return the patches in their order. Raise UserError as `select` does."""
    if order is Order.NAMED:
        rows = sorted(rows, key=lambda row: natural(row[1].name))
    numbered = [row for row in rows if row[0].count]
    if not numbered:
        return [one for _, one in rows]
    numbered_files = all(_FILE_NUMBER.match(one.name) for _, one in rows)
    if order is Order.LISTED or (order is Order.NAMED and numbered_files):
        _require_runs(rows, where)
        return [one for _, one in rows]
    if len(numbered) < len(rows):
        odd = [one for tag, one in rows if not tag.count]
        raise UserError(
            f"it holds a series of {numbered[0][0].count} patches, and some without a number: {_quoted(odd)}",
            where=where,
            hint="give one series at a time, or a folder whose series file lists all of them",
        )
    _require_whole(rows, where)
    return [one for _, one in sorted(rows, key=lambda row: row[0].number)]


def natural(name: str) -> tuple[tuple[int, int, str], ...]:
    """Return a key that sorts names with numbers by these: 1, 2, 10."""
    parts = re.split(r"(\d+)", name, flags=re.ASCII)
    return tuple((0, int(part), "") if number % 2 else (1, 0, part) for number, part in enumerate(parts))


def _require_runs(rows: Sequence[tuple[Tag, Item]], where: str) -> None:
    """Raise UserError unless the numbers, in the order of the files, are those of whole series."""
    at = 0
    while at < len(rows):
        count = rows[at][0].count
        if not count:
            at += 1
            continue
        run = rows[at : at + count]
        if [(tag.number, tag.count) for tag, _ in run] == [(n, count) for n in range(1, count + 1)]:
            at += count
            continue
        rest = [row for row in rows[at:] if row[0].count]
        _require_whole([row for row in rest if row[0].count == count], where)
        wrong = next(n for n, (tag, _) in enumerate(run, 1) if (tag.number, tag.count) != (n, count))
        first, second = (
            run[wrong - 1][1],
            next(one for tag, one in rest if (tag.number, tag.count) == (wrong, count)),
        )
        raise UserError(
            f"the order of the files contradicts their subjects: {first.name} ({first.subject!r}) comes "
            f"before {second.name} ({second.subject!r})",
            where=where,
            hint="rename the files, or list them in the order of their subjects",
        )


def _require_whole(rows: Sequence[tuple[Tag, Item]], where: str) -> None:
    """Raise UserError, saying what is missing, unless each number of one series is there once."""
    counts = sorted({tag.count for tag, _ in rows})
    if len(counts) > 1:
        firsts = [next(one for tag, one in rows if tag.count == count) for count in counts]
        raise UserError(f"it holds several series: {_quoted(firsts)}", where=where, hint="give one at a time")
    numbers = [tag.number for tag, _ in rows]
    twice = next((n for n in numbers if numbers.count(n) > 1), None)
    if twice is not None:
        raise UserError(
            f"patch {twice} of {counts[0]} is there twice",
            where=where,
            detail="\n".join(f"{one.name}: {one.subject}" for tag, one in rows if tag.number == twice),
            hint=_HINT,
        )
    if missing := [n for n in range(1, counts[0] + 1) if n not in numbers]:
        shown = ", ".join(map(str, missing[:-1])) + (" and " if missing[1:] else "") + str(missing[-1])
        some = f"patches {shown} of {counts[0]} are" if missing[1:] else f"patch {shown} of {counts[0]} is"
        there = ", ".join(f"{tag.number}/{tag.count} {tag.bare[:60]}" for tag, _ in rows[:6])
        raise UserError(f"{some} missing", where=where, detail=f"there: {there}", hint=_HINT)
