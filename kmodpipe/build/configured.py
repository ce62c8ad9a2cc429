"""What a tree's Kconfig makes of one cell: a configuration to build, a reason to skip it, or a failure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from kmodpipe import kconfig
from kmodpipe.kconfig import Cell
from kmodpipe.util.errors import KernelFailure


@dataclass(frozen=True)
class Buildable:
    """A cell whose configuration has every requested symbol."""

    cell: Cell
    text: str  # of the final .config

    @cached_property
    def final(self) -> Mapping[str, str]:
        """The symbols of the final configuration."""
        return kconfig.parse_config(self.text)


@dataclass(frozen=True)
class RuledOut:
    """A cell that Kconfig does not allow in this tree: it is skipped."""

    cell: Cell
    reason: str  # with the dependency that rules it out


@dataclass(frozen=True)
class Unconfigurable:
    """A cell that should be possible, but a symbol did not get its value, or the tree's Kconfig failed."""

    cell: Cell
    failure: KernelFailure


Configured = Buildable | RuledOut | Unconfigurable


def check(cell: Cell, text: str, src: Path) -> Configured:
    """Compare ``text``, the final .config of ``cell``, with the requested symbols; ``src`` is its source."""
    final = kconfig.parse_config(text)
    lost = kconfig.verify(cell.requested, final)
    if lost and (cell.variant.is_control or cell.variant.partial):
        lost = _without_brought(cell, lost, src)
    if not lost:
        return Buildable(cell, text)
    reasons = [(m, explain(src, m, final)) for m in lost]
    own = {entry.symbol for entry in cell.own_requests}
    if all(why and m.requested.symbol in own for m, why in reasons):
        return RuledOut(cell, "; ".join(str(why) for _, why in reasons))
    first = lost[0].requested
    return Unconfigurable(
        cell,
        KernelFailure(
            f"{first.symbol} did not survive: requested {first.value}, got {lost[0].got}",
            where=f"{cell.id} ({first.origin})",
            detail="\n".join(f"{m}: {why or 'no reason found in the Kconfig files'}" for m, why in reasons),
            hint="look at the symbol's depends and select lines in the patched tree",
        ),
    )


def _without_brought(
    cell: Cell, lost: tuple[kconfig.Mismatch, ...], src: Path
) -> tuple[kconfig.Mismatch, ...]:
    """Return ``lost`` without the common requests for symbols that only a whole series brings."""
    own = {entry.symbol for entry in cell.own_requests}
    index = kconfig.index_symbols(src, [m.requested.symbol for m in lost])
    return tuple(m for m in lost if m.requested.symbol in own or index.definitions[m.requested.symbol])


def explain(src: Path, mismatch: kconfig.Mismatch, final: Mapping[str, str]) -> str | None:
    """Return why a symbol did not get its value, from the Kconfig files of ``src``; None if unknown."""
    index = kconfig.index_symbols(src, [mismatch.requested.symbol])
    return kconfig.explain(mismatch, index, final)
