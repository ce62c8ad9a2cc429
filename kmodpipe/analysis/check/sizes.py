"""Compare the sizes of a module's functions and data, as scripts/bloat-o-meter does. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from kmodpipe.analysis.check import sections
from kmodpipe.analysis.check.model import Finding, Level

_LINE = re.compile(r"^[0-9a-f]+ (?P<size>[0-9a-f]+) (?P<type>[a-zA-Z]) (?P<name>\S+)$")
# Of the module as such: they are no code of the patch's.
_LEFT_OUT = re.compile(
    r"^(?:__mod_|__UNIQUE_ID|__this_module$|\.LC|__compound_literal|__func__|__ksymtab|__kstrtab)"
)
_COPY = re.compile(r"\.(?:isra|part|constprop|cold|lto_priv)(?:\.\d+)*|\.\d+$")
_TEXT, _DATA = "tTwW", "bBdDrR"
_MOST = 6


@dataclass(frozen=True)
class Symbols:
    """The sizes of a module's functions, and of its data, in bytes by name."""

    text: Mapping[str, int] = field(default_factory=dict)
    data: Mapping[str, int] = field(default_factory=dict)


def parse(text: str) -> Mapping[str, Symbols]:
    """Return the symbols by the module's target; ``text`` is the recipe's file, what ``nm -S`` printed."""
    found = {}
    for part in sections.parse(text):
        kinds: dict[str, dict[str, int]] = {"text": {}, "data": {}}
        for line in part.lines:
            match = _LINE.match(line)
            if match is None or _LEFT_OUT.match(match["name"]):
                continue
            kind = "text" if match["type"] in _TEXT else "data" if match["type"] in _DATA else ""
            if kind:
                name = _COPY.sub("", match["name"])
                kinds[kind][name] = kinds[kind].get(name, 0) + int(match["size"], 16)
        found[" ".join(part.words)] = Symbols(kinds["text"], kinds["data"])
    return found


def compare(before: Mapping[str, Symbols], after: Mapping[str, Symbols]) -> tuple[Finding, ...]:
    """Return a note for each module whose code or data changed in size, with what changed most."""
    found = []
    for target, now in after.items():
        was = before.get(target, Symbols())
        for word, old, new in (("code", was.text, now.text), ("data", was.data, now.data)):
            change = {
                name: new.get(name, 0) - old.get(name, 0)
                for name in old.keys() | new.keys()
                if new.get(name, 0) != old.get(name, 0)
            }
            if not change:
                continue
            up, down = sum(n for n in change.values() if n > 0), sum(-n for n in change.values() if n < 0)
            total = f"{sum(old.values())} to {sum(new.values())} bytes"
            most = sorted(change.items(), key=lambda row: (-abs(row[1]), row[0]))
            named = ", ".join(f"{name} {delta:+}" for name, delta in most[:_MOST])
            more = f" and {len(most) - _MOST} more" if len(most) > _MOST else ""
            module = target.rpartition("/")[2]
            text = f"{word} of {module}: {total}, up {up} down {down} ({named}{more})"
            found.append(Finding(Level.NOTE, text, "bloat-o-meter"))
    return tuple(found)
