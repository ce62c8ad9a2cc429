"""Find the lines of KTAP in a text, and split each from what stands before it. Pure, linear.

A report can stand behind anything that its lines have in common: printk's time and caller, the tag of a
program or of a log, comment marks::

    [    1.002003][   T12]     # not ok 3 - name # exit=1
    '-------- stem -------'  |   '-------- body --------'
                             '-- indentation and comment marks

Lines whose stems are equal but for digits and blanks are one stream. In each, indentation and the number of
comment marks say what is nested in what.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

_JUNK = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|[\x00-\x08\x0b-\x1f\x7f\ufeff]")
# Where the newline before a message of the kernel was lost.
_EMBEDDED = re.compile(r"(?<=[^\s>])(?=(?:<[0-9]{1,3}>)?\[ {0,5}[0-9]{1,7}\.[0-9]{6}\])")
_HINTS = re.compile(r"ok|1\.\.|TAP version|# Subtest:|# Totals:|Bail out!|kunit executor:")
# Not within a word, a quotation or a number.
_BODY = re.compile(
    r"(?<![\w'\"`‘“])(?:"
    r"(?P<version>K?TAP version [0-9]+\s*(?:#.*)?$)"
    r"|(?P<plan>1\.\.[0-9]+(?=\s|#|$))"
    r"|(?P<result>(?:not[ \t]+)?ok(?=\s|$))"
    r"|(?P<subtest># Subtest:(?=\s))"
    r"|(?P<totals># Totals:(?=\s))"
    r"|(?P<bail>Bail out!|kunit executor:)"
    r")"
)
_NUMBERED = re.compile(r"(?:not[ \t]+)?ok\s+[0-9]++(?![A-Za-z_%])(?!\.[0-9])")
_NUMBER = r"([0-9]++)(?![A-Za-z_%])(?!\.[0-9])"
_RESULT = re.compile(rf"(?:not[ \t]+)?ok(?:\s+{_NUMBER})?(\s*:?-(?=\s|$))?\s*(.*)$")
_PLAN = re.compile(r"1\.\.([0-9]+)\s*(.*)$")
_VERSION = re.compile(r"K?TAP version ([0-9]+)\s*(.*)$")
_MARK = re.compile(r"# \w+:|Bail out!")
_ALONE = re.compile(r"\s*(?:#.*)?$")
_COUNT = re.compile(r"\b([a-z]+):([0-9]{1,9})\b")
_DIGITS = re.compile(r"[0-9]+")
# printk's caller: a task, or a processor that is in no task.
_CALLER = re.compile(r"\[[TC]0(?:@C0)?\]")
# What `set -x` prints before a shell runs it.
_TRACE = re.compile(r"\++ (?:echo|printf) ")
# What ends in one of these is the beginning of a sentence; in anything else, a tag.
_SENTENCE = re.compile(r"[\w'\"`‘“’”,;(\[{<]$")
_BEFORE = " \t#"
# An unnumbered result is looked for behind no longer a stem than this.
_STEM_CHARS = 200
_MAX_COMMENTS = 8
# Stands for a number with more digits than any count of tests has.
_HUGE = 10**9


class Kind(Enum):
    """What a line of KTAP is."""

    VERSION = "version"
    PLAN = "plan"
    RESULT = "result"
    SUBTEST = "subtest"
    TOTALS = "totals"
    BAIL = "bail"


@dataclass(frozen=True, slots=True)
class Line:
    """One line of KTAP."""

    kind: Kind
    # The shape of what its stream has before every line; empty for nothing.
    stem: str
    # How many comment marks stand before it; ``#`` of its own is not counted.
    comments: int
    # Columns from the stem or from the last comment mark.
    indent: int
    # The body.
    text: str
    # Of a result, a plan's last test, or a version; None for a result that has none.
    number: int | None = None
    # What follows keyword and number.
    rest: str = ""
    # Whether a dash separates the two.
    dash: bool = False

    @property
    def ok(self) -> bool:
        """Whether a result is not ``not ok``."""
        return not self.text.startswith("not")

    @property
    def is_word(self) -> bool:
        """Whether it is ``ok`` before a mere word, ``ok computer``, which is no result in TAP or KTAP."""
        bare = not self.rest or self.rest.startswith("#")
        return self.ok and self.number is None and not self.dash and not bare

    @property
    def is_prose(self) -> bool:
        """Whether words follow a plan, ``1..3 rounds``: only behind a version line is that one."""
        return bool(self.rest) and not self.rest.lower().startswith(("#", "skip", "todo"))

    @property
    def counts(self) -> dict[str, int]:
        """The numbers of a totals line, by name."""
        return {name: int(digits) for name, digits in _COUNT.findall(self.text)}


def is_sentence(stem: str) -> bool:
    """Return whether what stands before a line reads as prose, not as a tag: ``this is``."""
    return bool(_SENTENCE.search(stem))


def lines(text: str) -> Iterator[Line]:
    """Yield the lines of KTAP in ``text``."""
    # A bare carriage return is what a progress line ends with.
    text = _JUNK.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))
    for raw in text.split("\n"):
        if _HINTS.search(raw):
            for part in _EMBEDDED.split(raw):
                if not _TRACE.match(part):
                    yield from _read(part.rstrip())


def _read(text: str) -> Iterator[Line]:
    """Yield the line of KTAP in a line of text, and before it what is one only in the stream of a report."""
    for count, match in enumerate(_BODY.finditer(text)):
        kind, at = Kind(match.lastgroup), match.start()
        bare = count == 0 and not text[:at].strip(_BEFORE)
        if kind is Kind.RESULT:
            line = _line(kind, text, at) if count == 0 else None
            if _NUMBERED.match(text, at) or (line and bare and not line.is_word):
                yield line or _line(kind, text, at)
                return
            if line and at <= _STEM_CHARS:
                yield line
        elif bare or kind is not Kind.PLAN or _ALONE.match(text, match.end()):
            yield _line(kind, text, at)
            return


def _line(kind: Kind, text: str, at: int) -> Line:
    stem = text[:at].rstrip(_BEFORE)
    marks = text[len(stem) : at]
    indent = len(marks.rpartition("#")[2].expandtabs(8))
    shape = _CALLER.sub("[T0]", "".join(_DIGITS.sub("0", stem).split()))
    place = kind, shape, min(marks.count("#"), _MAX_COMMENTS), indent
    body = text[at:]
    if kind is Kind.RESULT and (match := _RESULT.match(body)):
        return Line(*place, body, _number(match.group(1)), match.group(3), match.group(2) is not None)
    if kind in (Kind.PLAN, Kind.VERSION) and (
        match := (_PLAN if kind is Kind.PLAN else _VERSION).match(body)
    ):
        return Line(*place, body, _number(match.group(1)), match.group(2))
    return Line(*place, body, None, _MARK.sub("", body).strip())


def _number(digits: str | None) -> int | None:
    if digits is None:
        return None
    digits = digits.lstrip("0") or "0"
    return int(digits) if len(digits) <= 9 else _HUGE
