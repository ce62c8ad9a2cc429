"""Configuration fragments: parse, merge, render, and compare with the final ``.config``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from kmodpipe.util.digest import digest_of
from kmodpipe.util.errors import UserError

_SET = re.compile(r"CONFIG_(\w+)=(.*)")
_UNSET = re.compile(r"# CONFIG_(\w+) is not set")


@dataclass(frozen=True)
class Asked:
    """One symbol as somebody asked for it: ``value`` is ``y``, ``m``, ``n`` (not set), a number or a
    quoted string; ``origin`` names the fragment or axis and the line."""

    symbol: str
    value: str
    origin: str


@dataclass(frozen=True)
class Mismatch:
    """A symbol that came out of the tree's Kconfig otherwise than asked."""

    asked: Asked
    got: str

    def __str__(self) -> str:
        return f"{self.asked.symbol}: asked {self.asked.value}, got {self.got} ({self.asked.origin})"


def parse_config(text: str) -> dict[str, str]:
    """A final ``.config`` as symbol → value; ``is not set`` is ``n``. Unknown lines are ignored."""
    values: dict[str, str] = {}
    for line in text.splitlines():
        if match := _SET.fullmatch(line.rstrip()):
            values[match[1]] = match[2]
        elif match := _UNSET.fullmatch(line.rstrip()):
            values[match[1]] = "n"
    return values


def parse_fragment(text: str, name: str) -> tuple[Asked, ...]:
    """A fragment somebody wrote: every line must mean something, and no symbol may be asked twice.

    Raises UserError naming file and line.
    """
    asked: dict[str, Asked] = {}
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.strip()
        origin = f"{name}:{number}"
        if match := _UNSET.fullmatch(line):
            entry = Asked(match[1], "n", origin)
        elif match := _SET.fullmatch(line):
            entry = Asked(match[1], match[2], origin)
        elif not line or line.startswith("#"):
            continue
        else:
            raise UserError(
                f"not a configuration line: {line!r}",
                where=origin,
                hint="a line is CONFIG_X=y (m, a number, a \"string\") or '# CONFIG_X is not set'",
            )
        if entry.symbol in asked:
            raise UserError(
                f"{entry.symbol} is asked twice in one fragment",
                where=f"{asked[entry.symbol].origin}, {origin}",
            )
        asked[entry.symbol] = entry
    return tuple(asked.values())


def merge(layers: Iterable[Iterable[Asked]]) -> dict[str, Asked]:
    """Later layers win; the result remembers where each value came from."""
    merged: dict[str, Asked] = {}
    for layer in layers:
        for entry in layer:
            merged[entry.symbol] = entry
    return merged


def render(asked: Mapping[str, Asked]) -> str:
    """``asked`` as fragment text, sorted, so that equal requests are equal bytes."""
    lines = []
    for symbol, entry in sorted(asked.items()):
        lines.append(
            f"# CONFIG_{symbol} is not set" if entry.value == "n" else f"CONFIG_{symbol}={entry.value}"
        )
    return "\n".join(lines) + "\n"


def verify(asked: Mapping[str, Asked], final: Mapping[str, str]) -> tuple[Mismatch, ...]:
    """Every asked symbol that is not in the final configuration as asked; "not set" counts as asked too."""
    return tuple(
        Mismatch(entry, final.get(symbol, "n"))
        for symbol, entry in sorted(asked.items())
        if final.get(symbol, "n") != entry.value
    )


def digest(final: Mapping[str, str], without: Iterable[str] = ()) -> str:
    """SHA-256 of a final configuration, leaving out ``without``; unset and absent are the same."""
    left_out = set(without)
    return digest_of(sorted((s, v) for s, v in final.items() if v != "n" and s not in left_out))
