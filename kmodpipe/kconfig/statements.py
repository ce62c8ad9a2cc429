"""Split the text of a Kconfig file into statements, without comments and help texts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator


def statements(text: str) -> Iterator[tuple[int, str]]:
    """Yield each statement with the number of its first line; continued lines are joined."""
    help_indent: int | None = None
    in_help = False
    for number, raw in _joined(text.split("\n")):
        expanded = raw.expandtabs()
        line = expanded.strip()
        if not line:
            continue
        if in_help:
            indent = len(expanded) - len(expanded.lstrip())
            if help_indent is None and indent > 0:
                help_indent = indent
            if help_indent is not None and indent >= help_indent:
                continue
            in_help = False
        if line.startswith("#"):
            continue
        if line in ("help", "---help---"):
            in_help, help_indent = True, None
            continue
        yield number, line


def _joined(lines: Iterable[str]) -> Iterator[tuple[int, str]]:
    """Yield the lines with their numbers, continued ones joined under the number of the first."""
    parts: list[str] = []
    first = 0
    number = 0
    for number, line in enumerate(lines, 1):
        first = first if parts else number
        if line.endswith("\\"):
            parts.append(line[:-1])
            continue
        yield first, " ".join((*parts, line))
        parts.clear()
    if parts:
        yield first, " ".join(parts)
