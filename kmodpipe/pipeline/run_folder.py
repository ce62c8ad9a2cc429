"""Create, clean up and remove the folders of runs; a running process owns its folder."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from kmodpipe.build.stage import Stage
from kmodpipe.util import os_errors, paths, process_id
from kmodpipe.util.errors import InfraError, KmodpipeError, UserError
from kmodpipe.util.files import IGNORES_ITSELF, part_of, sweep_parts, write_atomically

# The file that marks a run's folder; it holds the id of the process that runs, later `_ENDED`.
_OWNER = ".kmodpipe-run"
_ENDED = "ended"
_LATEST_HINT = "it is a link that kmodpipe makes: move away what has its name"


class RunFolder:
    """Creates ``OUT/<run>``; `complete` points ``OUT/latest`` to it.

    As a context manager it marks the run as ended; before that, `ended_runs` leaves it out.
    """

    def __init__(self, out: Path) -> None:
        try:
            new = not paths.exists(out)
            self.id = _new_folder(out)
            self.path = out / self.id
            if new:
                # Of a repository that it stands in, results are no part.
                (out / ".gitignore").write_text(IGNORES_ITSELF)
        except OSError as e:
            raise _no_folder(e, out, "the results folder", "name another: --out FOLDER") from e
        self._latest = out / "latest"
        if not self._latest.is_symlink() and paths.exists(self._latest):
            # Found now, and not when the run has ended.
            shutil.rmtree(self.path, ignore_errors=True)
            taken = FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
            raise _no_folder(taken, out, str(self._latest), _LATEST_HINT)
        _sweep_runs(out)

    @classmethod
    def reopened(cls, path: Path) -> RunFolder:
        """Return the folder of a run that an earlier process began, for this process to go on with.

        Raise UserError if another process is at it.
        """
        owner = path / _OWNER
        try:
            known = owner.read_text()
            if known != _ENDED and not process_id.left_by(known, owner):
                raise UserError(
                    "another command follows this run", where=str(path), hint="wait for it to end"
                )
            write_atomically(owner, process_id.current())
        except OSError as e:
            raise _no_folder(e, path, "the run's folder", "name a folder that a run made") from e
        found = cls.__new__(cls)
        found.id, found.path, found._latest = path.name, path, path.parent / "latest"
        return found

    def complete(self) -> None:
        """Point ``OUT/latest`` to this run, which came to its end. Raise UserError if that cannot be."""
        part = part_of(self._latest)
        try:
            part.symlink_to(self.id)
            part.replace(self._latest)
        except OSError as e:
            part.unlink(missing_ok=True)
            raise _no_folder(e, self._latest.parent, str(self._latest), _LATEST_HINT) from e

    def __enter__(self) -> RunFolder:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            write_atomically(self.path / _OWNER, _ENDED)

    @property
    def shared(self) -> Path:
        """The folder for files of several cells."""
        return self.path / "shared"

    def cell(self, cell_id: str) -> Path:
        """Return the folder of a cell, which is created on the first call."""
        folder = self.path / cell_id
        folder.mkdir(exist_ok=True)
        return folder

    def log(self, stage: Stage) -> Path:
        """Return the path of a stage's log: in the cell's own folder for a module, else in `shared`."""
        if stage.kind == "module":
            return self.cell(stage.label) / "build.log"
        return self.shared / f"{stage.kind}-{stage.label}.log"


def _new_folder(out: Path) -> str:
    """Create a new folder for a run below ``out``, and return its name.

    The name has a random part, as two runs may begin in one second. The folder is renamed to it only when the
    owner is written: a folder without owner would never be cleaned up.
    """
    for _ in range(100):
        name = f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
        made = part_of(out / name)
        (made / "shared").mkdir(parents=True)
        (made / _OWNER).write_text(process_id.current())
        try:
            made.rename(out / name)
        except OSError as e:
            shutil.rmtree(made, ignore_errors=True)
            if e.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                raise
        else:
            return name
    raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(out))


def _no_folder(error: OSError, out: Path, what: str, hint: str) -> KmodpipeError:
    """Return the error for a folder that cannot be made: InfraError if the disk is full, else UserError."""
    known = os_errors.explain(error, (out,))
    kind = InfraError if known and error.errno in (errno.ENOSPC, errno.EDQUOT) else UserError
    reason = (error.strerror or str(error)).lower()
    return kind(f"{what} cannot be made: {reason}", where=str(out), hint=known.hint if known else hint)


def _run_folders(out: Path) -> Iterator[tuple[Path, str]]:
    """Yield the run folders below ``out``, each with its owner."""
    for owner in sorted(out.glob(f"*/{_OWNER}")):
        with suppress(OSError):
            if not owner.parent.is_symlink():
                yield owner.parent, owner.read_text()


def _sweep_runs(out: Path) -> None:
    """Remove the temporary files of killed runs, and mark the runs as ended. Their results stay."""
    sweep_parts(out)
    for run, owner in _run_folders(out):
        if owner != _ENDED and process_id.left_by(owner, run / _OWNER):
            for folder in (run, *(path for path in run.iterdir() if path.is_dir())):
                sweep_parts(folder)
            with suppress(OSError):
                (run / _OWNER).write_text(_ENDED)


def ended_runs(out: Path, *, keep: int = 0) -> tuple[Path, ...]:
    """Return the folders of ended runs below ``out`` that may be removed, the oldest first.

    The newest ``keep`` stay, and the last complete one if any stays.
    """
    ended = [run for run, owner in _run_folders(out) if process_id.left_by(owner, run / _OWNER)]
    if keep:
        last = (out / "latest").resolve()
        ended = [run for run in ended[:-keep] if run.resolve() != last]
    return tuple(ended)


def remove(runs: Iterable[Path], out: Path) -> None:
    """Remove folders of runs below ``out``, as far as they can be removed.

    Other files in ``out`` stay; ``out`` itself is removed if it is empty then.
    """
    for run in runs:
        paths.remove(run)
    sweep_parts(out)
    latest = out / "latest"
    if latest.is_symlink() and not latest.exists():
        latest.unlink()
    with suppress(OSError):
        out.rmdir()
