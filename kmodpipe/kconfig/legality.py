"""Why a symbol cannot have the value that was asked for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from kmodpipe.kconfig.fragment import Asked, Mismatch
from kmodpipe.kconfig.parser import Expr, Index

_LEVEL = {"n": 0, "m": 1, "y": 2}


def why_not(symbol: str, value: str, index: Index, known: Mapping[str, str]) -> str | None:
    """The reason that ``symbol`` cannot be ``value`` while ``known`` holds, or None where none is found.

    ``known`` may be just what a cell asks for (before anything ran) or a whole final configuration.
    """
    definitions = index.definitions.get(symbol, ())
    if value == "n":
        return _forced_on(symbol, index, known)
    if not definitions:
        return f"the tree has no symbol {symbol}"
    wanted = _LEVEL.get(value, 1)
    reasons: list[str] = []
    for definition in definitions:
        unmet = [
            part
            for condition in definition.depends
            for part in condition.conjuncts()
            if (level := part.value(known)) is not None and level < min(wanted, 1)
        ]
        if not unmet:
            # This definition may still allow it.
            if definition.prompt:
                return None
            reasons.append(
                f"{symbol} has no prompt, only its defaults set it ({definition.file}:{definition.line})"
            )
            continue
        told = "; ".join(dict.fromkeys(_told(part, known) for part in unmet))
        reasons.append(f"{symbol} depends on {told} ({definition.file}:{definition.line})")
    return " and ".join(reasons)


def _told(part: Expr, known: Mapping[str, str]) -> str:
    values = ", ".join(f"{s}={known[s]}" for s in sorted(part.symbols()) if s in known)
    return f"{part}, but {values}" if values else str(part)


def _forced_on(symbol: str, index: Index, known: Mapping[str, str]) -> str | None:
    for selection in index.selections.get(symbol, ()):
        on = _LEVEL.get(known.get(selection.selector, "n"), 0)
        condition = 2 if selection.condition is None else selection.condition.value(known)
        if on and condition:
            return f"{symbol} is selected by {selection.selector} ({selection.where})"
    return None


def illegal(own: Iterable[Asked], asked: Mapping[str, Asked], index: Index) -> str | None:
    """Why the tree's own dependencies rule a cell out, judged from what it asks for alone; or None. ``own``
    is what is this cell's choice and not the whole matrix's."""
    known = {symbol: entry.value for symbol, entry in asked.items()}
    for entry in own:
        if reason := why_not(entry.symbol, entry.value, index, known):
            return reason
    return None


def explain(mismatch: Mismatch, index: Index, final: Mapping[str, str]) -> str | None:
    """The dependency behind a symbol that did not come out as asked, or None where none is found."""
    known = {**{s: "n" for s in _mentioned(index)}, **final}
    return why_not(mismatch.asked.symbol, mismatch.asked.value, index, known)


def _mentioned(index: Index) -> set[str]:
    """Every symbol the definitions name: absent from a final configuration means n."""
    return {
        name
        for definitions in index.definitions.values()
        for definition in definitions
        for condition in definition.depends
        for name in condition.symbols()
    }
