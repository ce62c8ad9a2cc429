"""Keep the runs of the last rounds, and those that a verdict on the screen is from."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from kmodpipe.pipeline import run_folder
from kmodpipe.util import paths

FOLDER = "watch"
"""Where the runs are, below the folder for results."""


def prune(out: Path, rounds: Iterable[Iterable[Path]], shown: Iterable[Path], keep: int) -> tuple[Path, ...]:
    """Remove the runs of all but the last ``keep`` of the rounds, and return them.

    Those that are ``shown`` stay. Runs of which no round is known, from an earlier watch, count as older
    ones.
    """
    known = [tuple(folders) for folders in rounds]
    kept = {folder for folders in known[-keep:] for folder in folders} | set(shown)
    left = max(keep - len(known), 0)
    mine = {folder for folders in known for folder in folders}
    ended = run_folder.ended_runs(out)
    older = [folder for folder in ended if folder not in mine]
    kept |= set(older[len(older) - left :])
    gone = tuple(folder for folder in ended if folder not in kept)
    for folder in gone:
        paths.remove(folder)
    latest = out / "latest"
    if latest.is_symlink() and not latest.exists():
        latest.unlink()
    return gone
