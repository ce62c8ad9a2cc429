"""Caches beside the user's."""

from __future__ import annotations

from pathlib import Path


def beside(users: Path, to: Path, *kinds: str) -> Path:
    """Make a cache with the user's trees, kernels and notes; of its store only artifacts of these kinds."""
    (to / "store").mkdir(parents=True)
    for one in users.iterdir():
        if one.name not in ("store", "work", "locks") and one not in to.parents:
            (to / one.name).symlink_to(one)
    for kind in kinds:
        (users / "store" / kind).mkdir(parents=True, exist_ok=True)
        (to / "store" / kind).symlink_to(users / "store" / kind)
    return to
