"""Caches beside the user's."""

from __future__ import annotations

from pathlib import Path


def empty(users: Path, to: Path) -> Path:
    """Make a cache with what the user's has fetched, and nothing that was built of it."""
    to.mkdir(parents=True)
    for name in ("trees", "downloads", "git", "kernels", "accel.json"):
        if (users / name).exists():
            (to / name).symlink_to(users / name)
    return to


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
