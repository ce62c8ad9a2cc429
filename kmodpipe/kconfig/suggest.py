"""Choose a configuration for a module that has none: fragments, symbols, axes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from kmodpipe.kconfig.fragment import SymbolRequest
from kmodpipe.kconfig.index import Definition, Index
from kmodpipe.kconfig.solve import Need, Unreachable, solve
from kmodpipe.kconfig.values import Values
from kmodpipe.util.errors import UserError

MOST_AXES = 4

READY = (
    "storage.config", "device-mapper.config", "net.config", "pci.config", "virtio.config", "crypto.config",
    "usb-gadget.config", "usb.config", "nvme.config", "e1000.config", "bpf.config", "namespaces.config",
)  # fmt: skip
"""The shipped fragments that modules live on; the others belong to flavours."""
# Folders whose modules want the whole fragment, if they need anything of it.
_HOMES = {
    "storage.config": ("fs/",),
    "device-mapper.config": ("drivers/md/",),
    "net.config": ("drivers/net/", "net/"),
    "crypto.config": ("crypto/", "arch/x86/crypto/", "drivers/crypto/"),
    "virtio.config": ("drivers/virtio/",),
    "usb.config": ("drivers/usb/host/", "drivers/usb/storage/"),
}
# Fragments for a guest with a device, which other modules need nothing of.
_FOR_DEVICES = ("virtio.config", "usb.config", "nvme.config", "e1000.config")
_OWN_BASE = "so that each value has a base of its own to build"
# Of the symbols of a fragment, the part that has to be needed.
_PART = 1 / 2


@dataclass(frozen=True)
class AxisIdea:
    """A symbol of the module that its cells can differ by."""

    # As the matrix calls it: WRITEBACK.
    name: str
    symbol: str
    # The prompt.
    title: str
    # Why it is not an axis from the beginning; empty if it is.
    reason: str = ""


@dataclass(frozen=True)
class Suggestion:
    """A configuration under which modules of a folder can be built."""

    # The symbols of the modules under test.
    modules: tuple[str, ...]
    # Ready fragments, in their order.
    fragments: tuple[str, ...]
    # What is requested beyond them.
    needs: tuple[Need, ...]
    axes: tuple[AxisIdea, ...]
    # Further symbols that could be axes.
    more: tuple[AxisIdea, ...]
    # Symbols of the folder that cannot be had, with the reason.
    dropped: Mapping[str, str]


def suggest(
    index: Index,
    folder: str,
    symbols: Sequence[str],
    siblings: Collection[str],
    base: Mapping[str, str],
    ready: Mapping[str, Sequence[SymbolRequest]],
    read_elsewhere: Callable[[Sequence[str]], Mapping[str, str]],
) -> Suggestion:
    """Return a configuration under which ``symbols`` are modules.

    ``siblings`` are other symbols of the folder, which are modules if they are needed; ``base`` is what
    every kernel has, and ``ready`` are the fragments to choose from. ``read_elsewhere`` returns which of some
    symbols a file outside the folder reads, with a phrase that says so. A symbol that cannot be m is left
    out; raise UserError, with the chain of dependencies, if none can.
    """
    offered = {e.symbol for requests in ready.values() for e in requests if e.value == "y"}
    # Those without a prompt come with those that have one and select them.
    symbols = sorted(symbols, key=lambda s: not any(d.prompt for d in index.definitions[s]))
    kept: list[str] = []
    dropped: dict[str, str] = {}
    failure: tuple[str, Unreachable] | None = None
    found: Mapping[str, Need] = {}
    for symbol in symbols:
        try:
            found, _ = solve(index, [*kept, symbol], base, modules=siblings, preferred=offered)
            kept.append(symbol)
        except Unreachable as e:
            dropped[symbol] = e.reason
            failure = failure or (symbol, e)
    if failure and not kept:
        raise _refusal(failure[0], failure[1], index)
    modules = tuple(kept)
    chosen = _fragments(found, folder, index, ready, modules)
    known = dict(base) | {e.symbol: e.value for name in chosen for e in ready[name]}
    try:
        needs, values = solve(index, modules, known, modules=siblings, preferred=offered)
    except Unreachable:
        # The fragments have something that the module must not see.
        chosen = ()
        needs, values = solve(index, modules, base, modules=siblings, preferred=offered)
    own = _own_bools(index, folder, modules, values)
    readers = read_elsewhere(tuple(own)) if own else {}
    axes, more = _ideas(own, modules, values, readers)
    return Suggestion(modules, chosen, tuple(needs.values()), axes, more, dropped)


def _refusal(symbol: str, error: Unreachable, index: Index) -> UserError:
    reason = error.reason
    if error.missing and not index.definitions.get(error.missing):
        reason = f"{error.missing} is no symbol of x86-64"
    places = [f"{d.file}:{d.line}" for d in index.definitions.get(symbol, ())]
    return UserError(
        f"{symbol} cannot be a module: {reason}",
        where=", ".join(places),
        detail="\n".join(map(str, error.chain)),
        hint="it may be another kernel's (--tree), or another machine's; --symbol names another module",
    )


def _fragments(
    found: Mapping[str, Need],
    folder: str,
    index: Index,
    ready: Mapping[str, Sequence[SymbolRequest]],
    modules: Collection[str],
) -> tuple[str, ...]:
    """Return the ready fragments that have much of what was found, or are for modules of the folder."""
    left = {need.symbol for need in found.values() if need.value == "y"}
    chosen: list[str] = []
    while True:
        fitting: dict[str, int] = {}
        for name, requests in ready.items():
            own = {e.symbol for e in requests if e.value == "y" and (not e.if_known or _has(index, e))}
            covered = len(own & left)
            # Those that have the module built in are for its cases as well; the module's own request wins.
            home = f"{folder}/".startswith(_HOMES.get(name, ("-",))) or bool(own & set(modules))
            usable = all(_has(index, e) or e.if_known for e in requests)
            enough = covered >= _PART * len(own) and (covered > 1 or len(own) == 1)
            enough = enough and name not in _FOR_DEVICES
            if name not in chosen and usable and covered and (home or enough):
                fitting[name] = covered
        if not fitting:
            return tuple(name for name in ready if name in chosen)
        best = max(fitting, key=lambda name: fitting[name])
        chosen.append(best)
        left -= {e.symbol for e in ready[best]}


def _has(index: Index, entry: SymbolRequest) -> bool:
    return bool(index.definitions.get(entry.symbol))


# -- axes -------------------------------------------------------------------------------------------------
def _ideas(
    own: Mapping[str, Definition], modules: Sequence[str], values: Values, readers: Mapping[str, str]
) -> tuple[tuple[AxisIdea, ...], tuple[AxisIdea, ...]]:
    """Return the axes to begin with, and further ones of the bool symbols that belong to the modules."""
    reasons = {symbol: f"{reader}, {_OWN_BASE}" for symbol, reader in readers.items()}
    while True:
        axes = [symbol for symbol in own if symbol not in reasons][:MOST_AXES]
        # An axis may depend on another one.
        on = values.copy()
        for symbol in axes:
            on.request(symbol, "y")
        bad = {symbol: reason for symbol in axes if (reason := _reason(own[symbol], values, on))}
        if not bad:
            break
        reasons |= bad
    named: dict[str, AxisIdea] = {}
    for symbol in (*axes, *(s for s in own if s not in axes)):
        short = _axis_name(symbol, modules)
        name = symbol.upper() if short in named else short
        named[name] = AxisIdea(name, symbol, own[symbol].title, reasons.get(symbol, ""))
    ideas = tuple(named.values())
    return ideas[: len(axes)], ideas[len(axes) :]


def _own_bools(index: Index, folder: str, modules: Sequence[str], values: Values) -> Mapping[str, Definition]:
    """Return the bool symbols that depend on a module, also through each other, in their files' order."""
    files = {d.file for symbol in modules for d in index.definitions[symbol]}
    own = {
        symbol: definitions[0]
        for symbol, definitions in index.definitions.items()
        if len(definitions) == 1
        and (definitions[0].file in files or definitions[0].file.startswith(f"{folder}/"))
        and _can_be_axis(definitions[0], values)
    }
    family = set(modules)
    while more := {s for s, d in own.items() if s not in family and _mentions(d, family)}:
        family |= more
    found = sorted(family - set(modules), key=lambda s: (own[s].file, own[s].line))
    return {symbol: own[symbol] for symbol in found}


def _can_be_axis(one: Definition, values: Values) -> bool:
    return one.kind == "bool" and not one.in_choice and values.has_prompt(one)


def _mentions(one: Definition, family: Collection[str]) -> bool:
    return any(condition.symbols() & set(family) for condition in one.depends)


def _reason(one: Definition, values: Values, on: Values) -> str:
    """Return why a symbol is no axis from the beginning, or an empty text."""
    lost = [str(c) for d in one.depends for c in d.conjuncts() if c.value(on) == 0]
    if lost:
        return f"needs {' and '.join(lost)}"
    selected = [
        target
        for target, condition in one.selects
        if (condition is None or condition.value(values) != 0) and values.level(target) in (0, 1)
    ]
    return (
        f"selects {', '.join(selected)}, so that each value has a base of its own to build"
        if selected
        else ""
    )


def _axis_name(symbol: str, modules: Iterable[str]) -> str:
    """Return the symbol without what it has in common with a module's, so that cells have short names."""
    for module in sorted(modules, key=len, reverse=True):
        for prefix in (module, module.rpartition("_")[0]):
            rest = symbol.removeprefix(f"{prefix}_")
            if prefix and rest != symbol and rest[:1].isalpha():
                return rest.upper()
    return symbol.upper()
