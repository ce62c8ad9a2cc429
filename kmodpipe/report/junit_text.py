"""Text as it may stand in a JUnit file: legal, harmless, bounded. Pure."""

from __future__ import annotations

import re

from kmodpipe.util.text import one_line, visible_lines

TEXT_LIMIT = 64 * 1024
"""The most characters of one text node; of longer text half of them are its head and half its tail."""
MESSAGE_LIMIT = 1000
_NOT_XML = re.compile("[\ufdd0-\ufdef\ufffe\uffff]")
_ATTACHMENT = re.compile(r"\[(?=\s*\[\s*ATTACHMENT)", re.IGNORECASE)


def shown(text: str, limit: int = TEXT_LIMIT, whole: str = "") -> str:
    """Return *text* as it may stand in the file.

    It is cut to *limit* characters (*whole* is the file that has all of it), characters that XML forbids are
    shown as text like ``\\x1b``, and attachment marks are broken up.
    """
    text = visible_lines(cut(text, limit, whole))
    if not text.isascii():
        text = _NOT_XML.sub(lambda m: f"\\u{ord(m.group()):04x}", text)
    return _ATTACHMENT.sub("[ ", text) if "[" in text else text


def name_of(text: str, limit: int = MESSAGE_LIMIT) -> str:
    """Return *text* as the value of an attribute: one line, never empty."""
    line = one_line(text)
    return shown(line if len(line) <= limit else f"{line[: limit - 1]}…", 2 * limit) or "(no name)"


def cut(text: str, limit: int, whole: str = "") -> str:
    """Return head and tail of *text*, *limit* characters in all; *whole* is the file that has all of it."""
    if len(text) <= limit:
        return text
    half = limit // 2
    where = f", the whole is in {whole}" if whole else ""
    return f"{text[:half]}\n[… {len(text) - 2 * half} characters left out{where} …]\n{text[-half:]}"
