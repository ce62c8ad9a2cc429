"""Name a cell and its parts. This needs nothing else, so that a completion can do without the rest."""

from __future__ import annotations

import re
from collections.abc import Mapping

_NAME_LENGTH = 60
_COMMIT = re.compile(r"[0-9a-f]{40}")
KERNEL_NAME = re.compile(rf"[A-Za-z0-9][A-Za-z0-9._+-]{{0,{_NAME_LENGTH - 1}}}")
"""What a kernel is called where a run has several."""


def cell_id(variant: str, choice: Mapping[str, str], flavour: str, kernel: str = "") -> str:
    """Return the id of a cell, and name of its folder: ``index-nouuid.debian-6.1.INDEX=y.NOUUID=n.xfs``.

    The kernel is in it only where a run has several.
    """
    parts = [variant, kernel, *(f"{axis}={value}" for axis, value in choice.items()), flavour]
    return ".".join(filter(None, parts))


def kernel_name(tree: str) -> str:
    """Return a kernel's name for what ``--tree`` is given: of a path or URL its end, with its ref."""
    name, equals, _ = tree.partition("=")
    if equals and KERNEL_NAME.fullmatch(name):
        return name
    if KERNEL_NAME.fullmatch(tree):
        return tree
    location, _, ref = tree.partition("#")
    last = re.sub(r"\.git$|\.tar(\.\w+)?$|\.t[gx]z$", "", location.rstrip("/").rpartition("/")[2])
    ref = "" if ref.startswith("sha256=") else ref[:12] if _COMMIT.fullmatch(ref) else ref
    return re.sub(r"[^A-Za-z0-9._+-]+", "-", f"{last}-{ref}").strip("-.")[:_NAME_LENGTH] or "tree"
