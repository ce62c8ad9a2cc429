"""Find a smallest set of symbols, of those in which two configurations differ, that changes a case's outcome.

What both configurations have alike is not requested: the cell's own configuration holds there. A symbol
counts if it can be set by hand (it has a prompt) and comes out of Kconfig as it was requested at both ends.
What is tried is what the final .config has, not what was requested: Kconfig may pull other symbols along.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from kmodpipe import kconfig
from kmodpipe.analysis.bisect.minimise import minimise
from kmodpipe.analysis.bisect.model import Answer, Kind, Seen, Side, Suspect
from kmodpipe.analysis.bisect.probe import Choice, Probe, Target, cells_of
from kmodpipe.analysis.bisect.question import Question, Searched, begin
from kmodpipe.analysis.bisect.rates import Policy
from kmodpipe.judge.cases import Case
from kmodpipe.kconfig import Cell, SymbolRequest
from kmodpipe.source import Tree
from kmodpipe.util import process
from kmodpipe.util.errors import UserError
from kmodpipe.util.files import write_atomically
from kmodpipe.util.text import count, some

Values = Mapping[str, str]
"""Values by symbol; n for one that is not set."""
_SHOWN = 8


@dataclass(frozen=True)
class Pair:
    """Two configurations: what each has in the symbols in which they differ."""

    good: Values
    bad: Values

    def with_bad(self, symbols: Sequence[str]) -> Values:
        """Return the good configuration with these symbols as in the bad one."""
        return {**self.good, **{symbol: self.bad[symbol] for symbol in symbols}}

    def only(self, symbols: Sequence[str]) -> Pair:
        """Return both with these symbols alone."""
        return Pair({s: self.good[s] for s in symbols}, {s: self.bad[s] for s in symbols})

    def said(self, symbol: str) -> str:
        """Return a symbol as it is at the bad end."""
        return f"{symbol}={self.bad[symbol]}"


def read(good: str, bad: str) -> Pair:
    """Return the symbols in which two files differ. Raise UserError for a file that cannot be read."""
    one, other = ({entry.symbol: entry.value for entry in kconfig.requests_of(name)} for name in (good, bad))
    differing = [s for s in sorted({*one, *other}) if one.get(s, "n") != other.get(s, "n")]
    if not differing:
        raise UserError("the two configurations have the same symbols", where=f"{good}, {bad}")
    return Pair({s: one.get(s, "n") for s in differing}, {s: other.get(s, "n") for s in differing})


def settable(pair: Pair, src: Path) -> tuple[Pair, tuple[str, ...]]:
    """Return what can be set by hand in a tree, and a line about what cannot."""
    index = kconfig.index_symbols(src, pair.good)
    unknown = [s for s in pair.good if not index.definitions.get(s)]
    silent = [
        s for s in pair.good if s not in unknown and not any(d.prompt for d in index.definitions.get(s, ()))
    ]
    kept = [s for s in pair.good if s not in (*unknown, *silent)]
    notes = [
        f"left out, {why}: {some(names, _SHOWN)}"
        for names, why in ((unknown, "not in this tree"), (silent, "without a prompt, Kconfig sets them"))
        if names
    ]
    return pair.only(kept), tuple(notes)


class Configurations:
    """Configurations between the two, as cells."""

    def __init__(self, probe: Probe, choice: Choice) -> None:
        self._probe = probe
        self._plain = cells_of(Target("", ""), choice, probe.spec)
        self._choice = choice

    def target(self, name: str, values: Values) -> Target:
        """Return the state with these values."""
        return Target(name, "", cell=self._cell(values))

    def final(self, values: Values) -> Mapping[str, str]:
        """Return the symbols of the final configuration; empty if it cannot be had."""
        return kconfig.parse_config(self._probe.configure(self.target("", values), self._choice))

    def _cell(self, values: Values) -> Cell:
        """Return the cell of these values: on an axis, where the symbol is one."""
        matrix = self._probe.spec.matrix
        wanted = dict(self._choice.values)
        wanted |= {a: values[x.symbol] for a, x in matrix.axes.items() if values.get(x.symbol) in x.values}
        choice = replace(self._choice, values=tuple(wanted.items()))
        cell = cells_of(Target("", "", exact=True), choice, self._probe.spec)[0]
        on_axes = {entry.symbol for entry in cell.axes.values()}
        more = {s: SymbolRequest(s, v, "the two configurations") for s, v in values.items()}
        requested = {**cell.requested, **{s: one for s, one in more.items() if s not in on_axes}}
        return replace(cell, requested=requested)


def search(
    probe: Probe, files: tuple[str, str], choice: Choice, cases: Sequence[Case], policy: Policy
) -> Answer:
    """Run the case with mixtures of two configurations, until the smallest set that matters is known."""
    states = Configurations(probe, choice)
    tree = probe.kernel(Target("", ""), cells_of(Target("", ""), choice, probe.spec)[:1])
    if not isinstance(tree, Tree):
        hint = "configurations are compared on a tree: --tree debian-6.12"
        raise UserError(f"{tree.name} is a distribution's kernel, with one configuration", hint=hint)
    pair, notes = settable(read(*files), tree.path)
    pair, lost = _as_requested(states, pair)
    notes = (*notes, *lost)
    if not pair.good:
        what = "the two configurations differ in no symbol that can be set"
        raise UserError(what, where=", ".join(files), detail="\n".join(notes))
    names = _names(files)
    what = f"{' and '.join(names)}, {count(len(pair.good), 'symbol')}"
    good, bad = (states.target(n, v) for n, v in zip(names, (pair.good, pair.bad), strict=True))
    steps = 2 * len(pair.good).bit_length() + 1
    question = Question(Kind.SYMBOLS, what, good, bad, (choice,), tuple(cases), policy, notes)
    fragments = _Fragments(probe, pair)
    begun = begin(probe, question, fragments.command, steps)
    if isinstance(begun, Answer):
        return begun
    trials = _Trials(begun, states, pair, steps)
    found = minimise(tuple(pair.good), trials.makes_it)
    return trials.answer(found, fragments)


def _names(files: tuple[str, str]) -> tuple[str, str]:
    """Return short names for two files."""
    good, bad = (Path(name).name for name in files)
    return (good, bad) if good != bad else files


def _as_requested(states: Configurations, pair: Pair) -> tuple[Pair, tuple[str, ...]]:
    """Return the symbols that Kconfig gives the requested value at both ends, and a line about the others."""
    finals = states.final(pair.good), states.final(pair.bad)
    kept = [
        symbol
        for symbol in pair.good
        if all(f.get(symbol, "n") == v[symbol] for f, v in zip(finals, (pair.good, pair.bad), strict=True))
    ]
    lost = [symbol for symbol in pair.good if symbol not in kept]
    note = f"left out, Kconfig does not give them both values here: {some(lost, _SHOWN)}"
    return pair.only(kept), (note,) if lost else ()


class _Trials:
    """What was tried between the two."""

    def __init__(self, begun: Searched, states: Configurations, pair: Pair, steps: int) -> None:
        self._begun, self._states, self._pair = begun, states, pair
        self._left = steps
        self._seen: dict[frozenset[str], Seen] = {
            frozenset(): begun.search.good,
            frozenset(pair.bad): begun.search.bad,
        }
        self._good = states.final(pair.good)

    def makes_it(self, symbols: tuple[str, ...]) -> bool:
        """Whether the good configuration with these symbols as in the bad one behaves like the bad one."""
        return self.tried(symbols).side is Side.BAD

    def tried(self, symbols: Sequence[str]) -> Seen:
        """Return what the case showed with these symbols, and what they pull along."""
        final = self._states.final(self._pair.with_bad(symbols))
        name = some([self._pair.said(s) for s in symbols], 3)
        if not final:
            return self._begun.search.skip(name, "", "Kconfig rules it out")
        # What Kconfig made of it: others may have come along, or some of them not be there alone.
        made = {s: final.get(s, "n") for s in self._pair.good}
        have = frozenset(s for s, v in made.items() if v == self._pair.bad[s])
        if have not in self._seen:
            target = replace(self._states.target(name, made), key=repr(sorted(have)))
            self._left = max(self._left - 1, 1)
            self._seen[have] = self._begun.search.try_one(target, self._left)
        return self._seen[have]

    def answer(self, found: tuple[str, ...], fragments: _Fragments) -> Answer:
        """Return the answer for the smallest set: tried both ways, with what came along."""
        pair = self._pair
        rest = [symbol for symbol in pair.good if symbol not in found]
        without = self.tried(rest) if rest else self._begun.search.good
        after = self.tried(found)
        final = self._states.final(pair.with_bad(found))
        along = [
            f"{s}={final.get(s, 'n')}"
            for s in sorted({*final, *self._good})
            if s not in found and final.get(s, "n") != self._good.get(s, "n")
        ]
        notes = [f"Kconfig sets with it: {some(along, _SHOWN)}"] if along else []
        if without.side is Side.BAD:
            notes.append(f"not the only cause: without it, the bad configuration still has {without.words}")
        elif without.side is Side.SKIPPED:
            notes.append(f"not tried the other way round: {without.told}")
        elif rest:
            notes.append(f"the other way round: without it, the bad configuration has {without.words}")
        subject = " and ".join(pair.said(s) for s in found)
        subject = subject if len(found) < 4 else f"{len(found)} symbols together"
        suspects = [Suspect(pair.said(s), f"({pair.good[s]} at the good end)") for s in found]
        shown = replace(after, command=fragments.command(self._states.target("found", pair.with_bad(found)),
                        after.cell, self._begun.ends.case.id))  # fmt: skip
        return self._begun.noting(*notes).answer(
            subject, suspects, self._begun.search.good, shown, together=True
        )


class _Fragments:
    """Writes configurations as fragments into the folder of the bisection, for commands to name."""

    def __init__(self, probe: Probe, pair: Pair) -> None:
        self._probe, self._pair = probe, pair

    def command(self, target: Target, cell: str, case: str) -> str:
        """Return the command that shows a configuration."""
        spec = self._probe.spec
        argv = ["--series", "none"]
        axes = {axis.symbol for axis in spec.matrix.axes.values()}
        if target.cell and (
            more := {
                s: one for s, one in target.cell.requested.items() if s in self._pair.good and s not in axes
            }
        ):
            name = "".join(c if c.isalnum() or c in "._-" else "-" for c in Path(target.name).name)[:60]
            path = self._probe.folder.path / f"{name.removesuffix('.config')}.config"
            write_atomically(path, kconfig.render(more))
            argv += ["--config", str(path)]
        argv += ["--cell", cell] if cell else []
        argv += ["--case", spec.case_arguments.get(case, case)]
        return f"{spec.repeat_command} {process.pasteable(argv)}"
