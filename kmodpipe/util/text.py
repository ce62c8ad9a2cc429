"""Make text for people: what comes from elsewhere safe to print, counts with their noun, lists cut short."""

from __future__ import annotations

import re
from collections.abc import Sequence

# Control and format characters (Cc and Cf), line ends, surrogates, and letters that show as nothing.
_CONTROL = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u115f\u1160\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164"
    r"\ufeff\uffa0\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e0fff]"
)


def visible(text: str) -> str:
    """Return ``text`` with control, escape, bidi and surrogate characters shown as text like ``\\x1b``."""
    # Most text, and ten times as fast as to search it.
    if text.isascii() and text.isprintable():
        return text

    def show(match: re.Match[str]) -> str:
        code = ord(match.group())
        return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"

    return _CONTROL.sub(show, text)


def one_line(text: str) -> str:
    """Return ``text`` as one printable line: newlines, tabs and controls are shown as text like ``\\n``."""
    return visible(text.replace("\n", "\\n").replace("\t", "\\t"))


def visible_lines(text: str) -> str:
    """Return ``text`` as printable lines: newlines stay, tabs become spaces, controls are shown as text."""
    return visible(text.replace("\t", "    "))


def count(number: int, noun: str, plural: str = "") -> str:
    """Return a number with its noun: ``1 cell``, ``2 cells``, ``3 patches`` with that as the plural."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def some(names: Sequence[str], most: int = 8) -> str:
    """Return the names joined by commas; after the first *most* of them ``and 3 more``."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def spelled(text: str, program: str) -> str:
    """Return a hint with commands as they are typed with *program*; hints are written for a checkout."""
    return re.sub(r"\binvoke(?= [a-z]+\b)", program, text)
