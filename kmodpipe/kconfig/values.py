"""Evaluate symbols that a configuration does not mention: from selects and defaults, as allnoconfig does.

What has a prompt is n unless it is requested or selected; what has none takes its defaults. A symbol whose
value depends on a macro, or that is text or a number, is unknown.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from kmodpipe.kconfig.expression import Expr
from kmodpipe.kconfig.index import Definition, Index

_LEVEL = {"n": 0, "m": 1, "y": 2}
_NAME = "nmy"
_PASSES = 5


class Values(Mapping[str, str]):
    """The value of each symbol under requests that can be added to. A symbol of unknown value is missing."""

    def __init__(self, index: Index) -> None:
        self.index = index
        # What is requested, by symbol.
        self.requested: dict[str, str] = {}
        # To which level each symbol is selected.
        self._selected: dict[str, int] = {}
        # Levels that were worked out since the last change.
        self._known: dict[str, int | None] = {}

    def copy(self) -> Values:
        """Return values that can be changed on their own."""
        other = Values(self.index)
        other.restore(self)
        return other

    def restore(self, earlier: Values) -> None:
        """Become equal to ``earlier``."""
        self.requested = dict(earlier.requested)
        self._selected = dict(earlier._selected)
        self._known = dict(earlier._known)

    def request(self, symbol: str, value: str) -> None:
        """Request a value, and follow what it selects."""
        self.requested[symbol] = value
        self._known.clear()
        self._follow(symbol)

    def settle(self, requests: Mapping[str, str]) -> None:
        """Request many values at once, and follow what they and the tree's own defaults select."""
        self.requested.update(requests)
        for _ in range(_PASSES):
            before = dict(self._selected)
            self._known.clear()
            for symbol in self.index.definitions:
                if self.level(symbol):
                    self._follow(symbol)
            if self._selected == before:
                return

    def _follow(self, symbol: str) -> None:
        level = self.level(symbol) or 0
        for definition in self.index.definitions.get(symbol, ()):
            for target, condition in definition.selects:
                to = min(level, _level_of(condition, self))
                if to > self._selected.get(target, 0):
                    self._selected[target] = to
                    self._known.clear()
                    self._follow(target)

    def level(self, symbol: str) -> int | None:
        """Return 0, 1 or 2 for n, m or y; None if it is unknown, text or a number."""
        if symbol not in self._known:
            # For what depends on itself.
            self._known[symbol] = 0
            self._known[symbol] = self._level(symbol)
        return self._known[symbol]

    def _level(self, symbol: str) -> int | None:
        definitions = self.index.definitions.get(symbol, ())
        if not definitions:
            return 0
        kinds = {d.kind for d in definitions} - {""}
        if not kinds & {"bool", "tristate"}:
            return None
        found = max([self._selected.get(symbol, 0), *(self._default(d) for d in definitions)])
        if symbol in self.requested:
            found = max(self._selected.get(symbol, 0), _LEVEL.get(self.requested[symbol], 0))
        return 2 if found and "bool" in kinds else found

    def _default(self, definition: Definition) -> int:
        """Return the level that an entry's defaults give; 0 where it has a prompt."""
        if self.has_prompt(definition):
            return 0
        most = min((_level_of(one, self) for one in definition.depends), default=2)
        for value, condition in definition.defaults if most else ():
            if holds := _level_of(condition, self):
                return min(most, holds, _level_of(value, self))
        return 0

    def has_prompt(self, definition: Definition) -> bool:
        """Return whether a user can set the symbol by this entry, if its dependencies hold."""
        return definition.prompt and _level_of(definition.prompt_if, self) > 0

    # -- as a mapping, for `Expr.value` -----------------------------------------------------------------
    def __getitem__(self, symbol: str) -> str:
        if not symbol.isidentifier() and "$" in symbol:
            raise KeyError(symbol)
        level = self.level(symbol)
        if level is not None:
            return _NAME[level]
        return self.requested[symbol]

    def __iter__(self) -> Iterator[str]:
        return iter(self.index.definitions)

    def __len__(self) -> int:
        return len(self.index.definitions)


def _level_of(expr: Expr | None, values: Values) -> int:
    """Return an expression's level; what is unknown, and no expression, hold."""
    level = 2 if expr is None else expr.value(values)
    return 2 if level is None else level
