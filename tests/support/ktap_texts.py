"""KTAP reports by chance, and what can happen to one on its way."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

_NAMES = ("alpha", "beta", "gamma", "delta")
_DIRECTIVES = (
    "",
    "",
    "",
    " # SKIP none",
    " # XFAIL known",
    " # TODO later",
    " # exit=1",
    " #skip-list",
    " # TIMEOUT 3",
)
_NOISE = (
    "",
    "---",
    "\t",
    "\ufeff",
    "\x00\x1b[31m",
    "[    1.000000] a message",
    "[    1.000000] ok 1 alpha",
    "ok",
    "not ok",
    "ok computer",
    "this is not ok",
    "# a comment",
    "# ok 1 beta",
    "# TAP version 13",
    "# Subtest: alpha",
    "    # alpha: pass:1 fail:0 skip:0 total:1",
    "# Totals: pass:1 fail:0 xfail:0 xpass:0 skip:0 error:0",
    "KTAP version 1",
    "TAP version 13 # x",
    "1..",
    "1..2",
    "1..0 # SKIP none",
    "Bail out! gone",
)


def report_of(chance: Random, depth: int = 0) -> list[str]:
    """Return the lines of a report that is whole, with some failures in half of them."""
    version = chance.choice(("KTAP version 1", "TAP version 13", "TAP version 14"))
    count = chance.randint(1, 3)
    lines = [version] if depth == 0 or chance.random() < 0.8 else ["# Subtest: alpha"]
    lines += [f"1..{count}"] if chance.random() < 0.8 else []
    for number in range(1, count + 1):
        if depth < 3 and chance.random() < 0.3:
            indent = chance.choice(("  ", "    ", "\t", "# "))
            lines += [f"{indent}{line}" for line in report_of(chance, depth + 1)]
        failed = chance.random() < 0.15
        directive = chance.choice(_DIRECTIVES) if chance.random() < 0.3 else ""
        dash = chance.choice(("", "- "))
        lines.append(f"{'not ' if failed else ''}ok {number} {dash}{chance.choice(_NAMES)}{directive}")
    return lines


def damaged(lines: Sequence[str], chance: Random) -> str:
    """Return a text of those lines after up to three things have happened to them."""
    text = list(lines)
    for _ in range(chance.randint(0, 3)):
        chance.choice(_DAMAGE)(text, chance)
    ending = chance.choice(("\n", "\n", "\n", "\r\n"))
    return ending.join(text) + chance.choice((ending, ""))


def _lose(text: list[str], chance: Random) -> None:
    if text:
        del text[chance.randrange(len(text))]


def _cut(text: list[str], chance: Random) -> None:
    del text[chance.randint(0, len(text)) :]


def _mix(text: list[str], chance: Random) -> None:
    text.insert(chance.randint(0, len(text)), chance.choice(_NOISE))


def _repeat(text: list[str], chance: Random) -> None:
    at = chance.randint(0, len(text))
    text[at:at] = text[at : at + chance.randint(1, 4)]


def _indent(text: list[str], chance: Random) -> None:
    if text:
        at = chance.randrange(len(text))
        text[at] = chance.choice((" ", "    ", "\t", "# ")) + text[at]


def _outdent(text: list[str], chance: Random) -> None:
    if text:
        at = chance.randrange(len(text))
        text[at] = text[at].lstrip()


def _glue(text: list[str], chance: Random) -> None:
    if len(text) > 1:
        at = chance.randrange(len(text) - 1)
        text[at : at + 2] = [text[at] + text[at + 1]]


def _prefix(text: list[str], chance: Random) -> None:
    prefix = chance.choice(("[    1.000000] ", "[    1.000000][   T1] ", "kunit: ", "# ", "> "))
    text[:] = [prefix + line for line in text]


_DAMAGE: tuple[Callable[[list[str], Random], None], ...] = (
    _lose, _cut, _mix, _mix, _repeat, _indent, _outdent, _glue, _prefix,
)  # fmt: skip
