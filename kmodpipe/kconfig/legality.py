"""Find the dependency that keeps a symbol from having a requested value."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from kmodpipe.kconfig.expression import Expr
from kmodpipe.kconfig.fragment import Mismatch, SymbolRequest
from kmodpipe.kconfig.index import Index

_LEVEL = {"n": 0, "m": 1, "y": 2}


def why_not(symbol: str, value: str, index: Index, known: Mapping[str, str]) -> str | None:
    """Return why ``symbol`` cannot be ``value`` given the values in ``known``, or None if no reason is found.

    ``known`` may hold only what a cell requests, or a whole final configuration.
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
            # All dependencies of this definition may hold, so with a prompt the value can be set, and another
            # symbol that is requested can select it.
            if definition.prompt or _forced_on(symbol, index, known):
                return None
            reasons.append(
                f"{symbol} has no prompt, only its defaults set it ({definition.file}:{definition.line})"
            )
            continue
        text = "; ".join(dict.fromkeys(_with_values(part, known) for part in unmet))
        reasons.append(f"{symbol} depends on {text} ({definition.file}:{definition.line})")
    return " and ".join(reasons)


def _with_values(part: Expr, known: Mapping[str, str]) -> str:
    """Format an unmet dependency with the known values of its symbols."""
    values = ", ".join(f"{s}={known[s]}" for s in sorted(part.symbols()) if s in known)
    return f"{part}, but {values}" if values else str(part)


def _forced_on(symbol: str, index: Index, known: Mapping[str, str]) -> str | None:
    """Return which symbol selects ``symbol``, so that it cannot be n; None if none does."""
    for selection in index.selections.get(symbol, ()):
        on = _LEVEL.get(known.get(selection.selector, "n"), 0)
        condition = 2 if selection.condition is None else selection.condition.value(known)
        if on and condition:
            return f"{symbol} is selected by {selection.selector} ({selection.where})"
    return None


def illegal(own: Iterable[SymbolRequest], requested: Mapping[str, SymbolRequest], index: Index) -> str | None:
    """Return why the tree's dependencies rule a cell out, or None; decided from its requests alone.

    ``own`` are the cell's requests that not every cell has (`Cell.own_requests`); ``requested`` are all.
    """
    known = {symbol: entry.value for symbol, entry in requested.items()}
    for entry in own:
        if reason := why_not(entry.symbol, entry.value, index, known):
            return reason
    return None


def explain(mismatch: Mismatch, index: Index, final: Mapping[str, str]) -> str | None:
    """Return the dependency that caused ``mismatch``, or None if none is found."""
    known = {**{s: "n" for s in _mentioned(index)}, **final}
    return why_not(mismatch.requested.symbol, mismatch.requested.value, index, known)


def _mentioned(index: Index) -> set[str]:
    """Return every symbol in the definitions' dependencies; one that a final configuration lacks is n."""
    return {
        name
        for definitions in index.definitions.values()
        for definition in definitions
        for condition in definition.depends
        for name in condition.symbols()
    }
