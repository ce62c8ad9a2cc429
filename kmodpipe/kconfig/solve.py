"""Find requests under which given symbols can be modules: what they depend on, and what that depends on.

The search goes along ``depends on``: what must hold is requested as built in, of alternatives the one that
takes the least, and what has no prompt through a default or a symbol that selects it. It is no proof: the
tree's own ``conf`` makes the configuration, and every request is compared with it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial

from kmodpipe.kconfig.expression import Expr
from kmodpipe.kconfig.index import Definition, Index, Selection
from kmodpipe.kconfig.values import Values

# Steps of one search. The kernel's modules take some hundred.
_BUDGET = 3000
_SELECTORS = 8
_ROUNDS = 6
# Symbols that change much more than what they are requested for.
_LAST_RESORT = {"COMPILE_TEST": 100, "STAGING": 20, "BROKEN": 1000}
_CONSTANTS = ("n", "m", "y")


@dataclass(frozen=True)
class Need:
    """A request that the search found."""

    symbol: str
    # y, m or n.
    value: str
    # Which symbol needs it, and where the tree says so.
    why: str


@dataclass(frozen=True)
class Step:
    """One link of a chain of dependencies."""

    symbol: str
    # What it needs, as the Kconfig file says it.
    text: str
    # FILE:LINE.
    where: str

    def __str__(self) -> str:
        return f"{self.symbol} {self.text} ({self.where})"


class Unreachable(Exception):
    """No requests were found under which a symbol has the value that is needed."""

    def __init__(
        self,
        reason: str,
        chain: tuple[Step, ...],
        missing: str = "",
        against: frozenset[str] = frozenset(),
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        # From the symbol that was wanted down to the one that cannot be had.
        self.chain = chain
        # The symbol that is not defined, if that is why.
        self.missing = missing
        # What the search itself requested, and has to be off.
        self.against = against


@dataclass
class _Search:
    index: Index
    values: Values
    # Symbols that are built as modules, never built in.
    modules: frozenset[str]
    # Symbols of ready fragments, which are preferred.
    preferred: Collection[str]
    # Symbols that must stay off, with the reason.
    off: dict[str, str]
    found: dict[str, Need] = field(default_factory=dict)
    steps: int = 0

    # -- symbols ----------------------------------------------------------------------------------------
    def require(self, symbol: str, level: int, chain: tuple[Step, ...], value: str = "y") -> None:
        """Make a symbol at least m (1) or y (2). Raise Unreachable."""
        self.steps += 1
        if self.steps > _BUDGET:
            raise Unreachable("the dependencies have too many alternatives to try", chain)
        known = self.values.level(symbol)
        if known is None or known >= level:
            return
        if symbol in (step.symbol for step in chain[:-1]):
            raise Unreachable(f"{symbol} needs itself: a cycle of dependencies", chain)
        definitions = self.index.definitions.get(symbol, ())
        if not definitions:
            raise Unreachable(f"the tree has no symbol {symbol}", chain, missing=symbol)
        if symbol in self.off:
            raise Unreachable(f"{symbol} has to be off: {self.off[symbol]}", chain)
        if symbol in self.modules:
            if level > 1:
                raise Unreachable(f"{symbol} is built as a module, and has to be built in", chain)
            value = "m"
        kinds = {d.kind for d in definitions}
        values = ["y"]
        if "tristate" in kinds:
            # What depends on a module cannot be built in.
            values = [value] if level > 1 or value == "m" else [value, "m"]
        ways = [
            partial(self._by_prompt, symbol, d, v, chain) for v in values for d in definitions if d.prompt
        ]
        ways += [partial(self._by_default, symbol, d, level, chain) for d in definitions if d.defaults]
        selectors = self._selectors(symbol)
        if selectors:
            selects = [partial(self._by_select, symbol, s, level, value, chain) for s in selectors]
            ways.append(partial(self._cheapest, selects))
        if not ways:
            raise Unreachable(f"{symbol} has no prompt, and nothing that can be set selects it", chain)
        self._first(ways)

    def _first(self, ways: Iterable[Callable[[], None]]) -> None:
        """Take the first way that leads anywhere. Raise Unreachable, for the reason of the first."""
        first: Unreachable | None = None
        for way in ways:
            values, found = self.values.copy(), dict(self.found)
            try:
                way()
            except Unreachable as e:
                self.values.restore(values)
                self.found = found
                first = first or e
            else:
                return
        if first:
            raise first

    def _by_prompt(self, symbol: str, one: Definition, value: str, chain: tuple[Step, ...]) -> None:
        tristate = any(d.kind == "tristate" for d in self.index.definitions[symbol])
        level = 2 if tristate and value == "y" else 1
        if one.prompt_if:
            # A prompt that is visible at m offers no y.
            self._need(one.prompt_if, level, chain, symbol, one)
        for condition in one.depends:
            self._need(condition, level, chain, symbol, one)
        self._request(symbol, value, chain)
        for target, only_if in one.selects:
            if only_if is None or only_if.value(self.values) != 0:
                step = Step(symbol, f"selects {target}", f"{one.file}:{one.line}")
                with suppress(Unreachable):
                    self._first([partial(self._support, target, value, (*chain, step))])

    def _request(self, symbol: str, value: str, chain: tuple[Step, ...]) -> None:
        why = str(chain[-1]) if chain else "the module under test"
        self.found[symbol] = Need(symbol, value, why)
        self.values.request(symbol, value)

    def _support(self, target: str, value: str, chain: tuple[Step, ...]) -> None:
        """Request what a selected symbol depends on: a select does not look at it.

        What a module selects, and can be built in, is: a guest does not load by itself what a module asks
        for by a name at run time (request_module), such as an algorithm of crypto/.
        """
        definitions = self.index.definitions.get(target, ())
        if not definitions:
            return
        if not any(all(c.value(self.values) != 0 for c in d.depends) for d in definitions):
            self._all(definitions[0].depends, chain, target, definitions[0])
        if value == "m" and target not in self.modules and any(self._offers_y(d) for d in definitions):
            self.require(target, 2, chain)

    def _offers_y(self, one: Definition) -> bool:
        shown = 2 if one.prompt_if is None else one.prompt_if.value(self.values)
        return one.prompt and one.kind == "tristate" and shown in (2, None)

    def _all(self, conditions: Iterable[Expr], chain: tuple[Step, ...], owner: str, one: Definition) -> None:
        for condition in conditions:
            self._need(condition, 1, chain, owner, one)

    def _by_default(self, symbol: str, one: Definition, level: int, chain: tuple[Step, ...]) -> None:
        self._all(one.depends, chain, symbol, one)
        ways = [
            partial(self._all, [condition, value] if condition else [value], chain, symbol, one)
            for value, condition in one.defaults
            if str(value) != "n"
        ]
        self._first(ways)
        known = self.values.level(symbol)
        if known is not None and known < level:
            raise Unreachable(f"{symbol} has no prompt, and its defaults leave it off", chain)

    def _selectors(self, symbol: str) -> list[Selection]:
        """Return what can select a symbol, the most fitting first."""
        ours = {d.file.rpartition("/")[0] for d in self.index.definitions[symbol]}

        def order(one: Selection) -> tuple[int, bool, int, str]:
            near = one.where.rpartition("/")[0] in ours
            there = 0 if self.values.level(one.selector) else self._cost(one.selector)
            return (there, not near, len(one.selector), one.selector)

        return sorted(self.index.selections.get(symbol, ()), key=order)[:_SELECTORS]

    def _by_select(
        self, symbol: str, one: Selection, level: int, value: str, chain: tuple[Step, ...]
    ) -> None:
        step = Step(one.selector, f"selects {symbol}", one.where)
        if one.condition:
            self._need(one.condition, 1, (*chain, step), one.selector, None)
        self.require(one.selector, level, (*chain, step), value)
        got = self.values.level(symbol) or 0
        if got < level or (got == 2 and symbol in self.modules):
            raise Unreachable(f"{one.selector} does not select {symbol} as needed", (*chain, step))

    # -- expressions ------------------------------------------------------------------------------------
    def _need(
        self, expr: Expr, level: int, chain: tuple[Step, ...], owner: str, one: Definition | None
    ) -> None:
        """Make an expression hold. Raise Unreachable."""
        known = expr.value(self.values)
        if known is None or known >= level:
            return
        place = f"{one.file}:{one.line}" if one else chain[-1].where
        step = Step(owner, f"depends on {expr}", place)
        again = (*chain, step)
        if expr.op == "&&":
            for part in expr.conjuncts():
                self._need(part, level, chain, owner, one)
        elif expr.op == "||":
            parts = [a for a in expr.args if isinstance(a, Expr)]
            self._cheapest([partial(self._need, part, level, chain, owner, one) for part in parts])
        elif expr.op == "sym" and str(expr.args[0]) not in _CONSTANTS:
            self.require(str(expr.args[0]), level, again)
        elif expr.op in ("=", "!="):
            self._compare(expr, again)
        else:
            raise self._failed(expr, again)

    def _failed(self, expr: Expr, chain: tuple[Step, ...]) -> Unreachable:
        against = frozenset(expr.symbols() & self.found.keys())
        return Unreachable(f"{expr} does not hold here", chain, against=against)

    def _compare(self, expr: Expr, chain: tuple[Step, ...]) -> None:
        left, right = (str(a.args[0]) for a in expr.args if isinstance(a, Expr))
        name, constant = (right, left) if left in _CONSTANTS else (left, right)
        wanted = {("=", "y"): 2, ("=", "m"): 1, ("!=", "n"): 1}.get((expr.op, constant))
        if wanted is None:
            raise self._failed(expr, chain)
        self.require(name, wanted, chain, "m" if (expr.op, constant) == ("=", "m") else "y")
        if expr.value(self.values) == 0:
            raise self._failed(expr, chain)

    def _cheapest(self, ways: Iterable[Callable[[], None]]) -> None:
        """Take the way with the fewest requests. Raise Unreachable, for the reason of the first."""
        before, found = self.values.copy(), dict(self.found)
        best: tuple[int, Values, dict[str, Need]] | None = None
        first: Unreachable | None = None
        for way in ways:
            try:
                way()
                cost = sum(self._cost(s) for s in self.found.keys() - found.keys())
                if best is None or cost < best[0]:
                    best = (cost, self.values.copy(), self.found)
            except Unreachable as e:
                first = first or e
            self.values.restore(before)
            self.found = dict(found)
        if best:
            self.values.restore(best[1])
            self.found = best[2]
        elif first:
            raise first

    def _cost(self, symbol: str) -> int:
        return _LAST_RESORT.get(symbol, 1 if symbol in self.preferred else 5)


def solve(
    index: Index,
    wanted: Collection[str],
    known: Mapping[str, str],
    *,
    modules: Collection[str] = (),
    preferred: Collection[str] = (),
) -> tuple[Mapping[str, Need], Values]:
    """Return what has to be requested, beyond ``known``, so that the symbols in ``wanted`` can be m.

    ``modules`` are further symbols that are m if they are needed. What ``known`` requests to be off may be
    switched on. Raise Unreachable, with the chain, for a symbol that cannot be had.
    """
    ground = Values(index)
    ground.settle({s: v for s, v in known.items() if index.definitions.get(s) and s not in wanted})
    off: dict[str, str] = {}
    for _ in range(_ROUNDS):
        search = _Search(index, ground.copy(), frozenset((*wanted, *modules)), preferred, dict(off))
        try:
            for symbol in wanted:
                search.require(symbol, 1, ())
            _require_unbroken(search)
            _require_modules(wanted, search)
        except Unreachable as e:
            failure = e
            more = e.against - off.keys() - set(wanted)
            if not more:
                raise
            off.update(dict.fromkeys(more, str(e.chain[-1])))
        else:
            return search.found, search.values
    raise failure


def _require_modules(wanted: Collection[str], search: _Search) -> None:
    """Raise Unreachable if something else builds one of the wanted symbols into the kernel."""
    for symbol in wanted:
        if search.values.level(symbol) == 2:
            selectors = search.index.selections.get(symbol, ())
            by = [s for s in selectors if search.values.level(s.selector) == 2]
            chain = tuple(Step(s.selector, f"selects {symbol}", s.where) for s in by[:1])
            raise Unreachable(f"{symbol} is built into every kernel of ours", chain)


def _require_unbroken(search: _Search) -> None:
    """Raise Unreachable for a dependency of a request that another request broke."""
    for symbol in search.found:
        definitions = search.index.definitions[symbol]
        if len(definitions) > 1:
            continue
        for part in (c for d in definitions for e in d.depends for c in e.conjuncts()):
            if part.value(search.values) == 0:
                place = f"{definitions[0].file}:{definitions[0].line}"
                against = frozenset(part.symbols() & search.found.keys())
                chain = (Step(symbol, f"depends on {part}", place),)
                raise Unreachable(f"{part} does not hold with all that is needed", chain, against=against)
