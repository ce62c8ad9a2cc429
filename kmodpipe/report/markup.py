"""A report as blocks, and renderings of it: plain text, Markdown, the body of a mail. Pure.

Text is made of our own words (str) and of `Code`: names, outcomes, sentences and all else that came from a
guest, a series or a file. Only `Code` can be hostile; each rendering has one place that makes it harmless:

    text       control characters are made visible
    Markdown   it becomes a code span, in which there are no links, mentions, references, headings or HTML
    mail       as in text, and trailers (``Tested-by:`` and the like) are broken up, as tools collect them
               from replies; a line that would read as a quote, a patch or a signature is indented

A command stands on a line of its own, which is never wrapped.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from kmodpipe.util.text import one_line, visible_lines


@dataclass(frozen=True)
class Code:
    """A name, or text that is not our own."""

    text: str


Text = tuple["str | Code", ...]


@dataclass(frozen=True)
class Title:
    text: Text


@dataclass(frozen=True)
class Paragraph:
    text: Text


@dataclass(frozen=True)
class Items:
    items: tuple[Text, ...]


@dataclass(frozen=True)
class Table:
    head: tuple[str, ...]
    rows: tuple[tuple[Text, ...], ...]


@dataclass(frozen=True)
class Command:
    text: str


@dataclass(frozen=True)
class Quote:
    """Lines that are shown as they are: evidence."""

    text: str


@dataclass(frozen=True)
class Fold:
    """Details that few readers want, folded where the format can do that."""

    title: Text
    blocks: tuple[Block, ...]


Block = Title | Paragraph | Items | Table | Command | Quote | Fold


def listed(names: Iterable[str], most: int = 8) -> Text:
    """Return the names as `Code`, the first *most* of them: ``a, b and 3 more``."""
    all_names = list(names)
    parts: list[str | Code] = []
    for name in all_names[:most]:
        parts += [", ", Code(name)] if parts else [Code(name)]
    if len(all_names) > most:
        parts.append(f" and {len(all_names) - most} more")
    return tuple(parts)


# -- plain text ---------------------------------------------------------------------------------------
_TRAILER = re.compile(r"\b([A-Za-z][A-Za-z-]*-by|Fixes|Closes|Link|Cc|Reported-and-\S+)(\s*):", re.IGNORECASE)
# Programs take a line that begins so for a quote, the next message of a mailbox, a signature or a patch.
# A word from elsewhere may come to stand there: the line is indented then, as RFC 3676 (4.4) does.
_SPECIAL = re.compile(r">|From |--|diff |Index: |\+\+\+ |@@ ")
_ASCII = str.maketrans(
    {"→": "->", "…": "...", "–": "-", "×": "x", "✓": "ok", "✗": "FAIL", "○": "ok", "⚠": "!"}
)


@dataclass(frozen=True)
class _Plain:
    """Renders blocks as plain text."""

    # In characters.
    width: int
    # For a mailing list: ASCII signs, and nothing that tools would take for a trailer.
    mail: bool = False

    def text(self, text: Text) -> str:
        return "".join(self.code(part.text) if isinstance(part, Code) else self.own(part) for part in text)

    def own(self, text: str) -> str:
        return text.translate(_ASCII) if self.mail else text

    def code(self, text: str) -> str:
        line = one_line(text)
        return _TRAILER.sub(r"\1\2 :", self.own(line)) if self.mail else line

    def wrap(self, text: str, first: str = "", rest: str = "") -> list[str]:
        lines = textwrap.wrap(
            text, self.width, initial_indent=first, subsequent_indent=rest,
            break_long_words=False, break_on_hyphens=False,
        ) or [""]  # fmt: skip
        return [f" {line}" if self.mail and _SPECIAL.match(line) else line for line in lines]

    def block(self, block: Block) -> list[str]:
        if isinstance(block, Title):
            title = self.text(block.text)
            return [title, "=" * min(len(title), self.width)] if not self.mail else [f"{title}:"]
        if isinstance(block, Paragraph):
            return self.wrap(self.text(block.text))
        if isinstance(block, Items):
            return [line for item in block.items for line in self.wrap(self.text(item), "- ", "  ")]
        if isinstance(block, Table):
            return self.table(block)
        if isinstance(block, Command):
            return [f"    {one_line(block.text)}"]
        if isinstance(block, Quote):
            return [f"| {self.code(line)}".rstrip() for line in block.text.splitlines()]
        lines = self.wrap(f"{self.text(block.title)}:")
        for inner in block.blocks:
            lines += ["", *self.block(inner)]
        return lines

    def table(self, table: Table) -> list[str]:
        """Return columns if they fit the width, else each row as an item, so that nothing is cut."""
        rows = [[self.text(text) for text in row] for row in table.rows]
        widths = [max(map(len, column)) for column in zip(table.head, *rows, strict=True)]
        if sum(widths) + 2 * len(widths) <= self.width:
            head = [list(table.head), ["-" * w for w in widths]]
            return [
                ("  " + "  ".join(t.ljust(w) for t, w in zip(row, widths, strict=True))).rstrip()
                for row in (*head, *rows)
            ]
        lines = []
        for row in rows:
            parts = [row[0], *(f"{n} {t}" for n, t in zip(table.head[1:], row[1:], strict=True) if t)]
            lines += self.wrap(", ".join(parts), "- ", "  ")
        return lines


def text(blocks: Sequence[Block], width: int = 100) -> str:
    """Render blocks for a terminal or a log."""
    return _joined(_Plain(width), blocks)


def mail(blocks: Sequence[Block], width: int = 72) -> str:
    """Render blocks as the body of a mail."""
    return _joined(_Plain(width, mail=True), blocks)


def _joined(plain: _Plain, blocks: Sequence[Block]) -> str:
    return "\n\n".join("\n".join(plain.block(block)) for block in blocks) + "\n"


# -- Markdown -----------------------------------------------------------------------------------------
_PLAIN = re.compile(r"[\w .,;:?()'\"=/+%|…→×✓✗○⚠–-]*")
# Addresses, emoji and references of GitHub and GitLab, hashes of commits, emphasis.
_MEANS_SOMETHING = re.compile(r"://|www\.|:\w+:|\bGH-[0-9]|\b[0-9a-f]{7,}\b|(?<!\w)_|_(?!\w)", re.IGNORECASE)


def markdown(blocks: Sequence[Block], limit: int) -> str:
    """Render blocks as the Markdown of GitHub and GitLab, at most *limit* characters.

    Blocks that do not fit are left out whole, and the last line says so.
    """
    cut = "*More than there is room for: the rest is in report.html.*\n"
    made: list[str] = []
    size = len(cut)
    for block in blocks:
        piece = "\n".join(_markdown(block)) + "\n"
        if size + len(piece) + 1 > limit:
            made.append(cut)
            break
        made.append(piece)
        size += len(piece) + 1
    return "\n".join(made)


def _markdown(block: Block) -> list[str]:
    if isinstance(block, Title):
        return [f"### {_inline(block.text)}"]
    if isinstance(block, Paragraph):
        return [_inline(block.text)]
    if isinstance(block, Items):
        return [f"- {_inline(item)}" for item in block.items]
    if isinstance(block, Table):
        return [
            "| " + " | ".join(block.head) + " |",
            "|" + " --- |" * len(block.head),
            *("| " + " | ".join(_inline(t, cell=True) for t in row) + " |" for row in block.rows),
        ]
    if isinstance(block, (Command, Quote)):
        return _fenced(one_line(block.text) if isinstance(block, Command) else block.text)
    inner = [line for one in block.blocks for line in (*_markdown(one), "")]
    return ["<details>", f"<summary>{_html(block.title)}</summary>", "", *inner, "</details>"]


def _inline(text: Text, *, cell: bool = False) -> str:
    return "".join(span(p.text, cell=cell) if isinstance(p, Code) else p for p in text)


def sentence(text: str) -> str:
    """Return *text* for a table's cell: as it is if it means nothing in Markdown, else as a code span."""
    line = one_line(text)
    if _PLAIN.fullmatch(line) and not _MEANS_SOMETHING.search(line):
        return line.replace("|", "\\|")
    return span(text, cell=True)


def span(text: str, *, cell: bool) -> str:
    """Return a code span that holds *text*, whatever is in it."""
    line = one_line(text)
    if cell:
        # In a table a pipe is escaped with a backslash. One that is in the text already, right before the
        # pipe, would escape ours: a space keeps them apart.
        line = re.sub(r"(\\*)\|", lambda m: m[1] + " " * bool(m[1]) + "\\|", line)
    if not line.strip():
        return ""
    ticks = "`" * (max(map(len, re.findall("`+", line)), default=0) + 1)
    pad = " " if line[0] in "` " or line[-1] in "` " else ""
    return f"{ticks}{pad}{line}{pad}{ticks}"


def _fenced(text: str) -> list[str]:
    shown = visible_lines(text)
    fence = "`" * max(3, max(map(len, re.findall("`+", shown)), default=0) + 1)
    return [f"{fence}text", *shown.splitlines(), fence]


def _html(text: Text) -> str:
    """Return *text* as HTML, for a ``<summary>``, where Markdown does not work."""
    return "".join(f"<code>{_entities(p.text)}</code>" if isinstance(p, Code) else p for p in text)


def _entities(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9 ]", lambda m: f"&#{ord(m.group())};", one_line(text))
