"""Name a cell. A room of its own needs nothing else, so that a completion can do without the rest."""

from __future__ import annotations

from collections.abc import Mapping


def cell_id(variant: str, choice: Mapping[str, str], flavour: str) -> str:
    """Return the id of a cell, and name of its folder: ``index-nouuid.INDEX=y.NOUUID=n.xfs``."""
    parts = [variant, *(f"{axis}={value}" for axis, value in choice.items()), flavour]
    return ".".join(filter(None, parts))
