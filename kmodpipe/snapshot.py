"""What the cases of a run are, kept beside its results: each cell boots at its own time, scripts may change
meanwhile, and what ran has to be what is written down.

    OUT/<run>/shared/lib.sh
    OUT/<run>/shared/cases/<id>/<script>
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from kmodpipe.cases import Case
from kmodpipe.errors import InfraError, UserError


@dataclass(frozen=True)
class Snapshot:
    """Cases whose scripts are copies, and the copy of their shell library."""

    cases: tuple[Case, ...]
    lib: Path

    def digest(self, case: Case) -> str:
        """SHA-256 (hex) of all that decides what the case does in a guest."""
        return case.digest(self.lib.read_bytes())


def take(cases: Iterable[Case], lib: Path, folder: Path) -> Snapshot:
    """Copy what the guests are to run into ``folder``. Raises UserError for a script that cannot be read,
    InfraError for a copy that cannot be written."""
    copied = tuple(
        replace(case, path=_copy(case.path, folder / "cases" / case.id / case.path.name)) for case in cases
    )
    return Snapshot(copied, _copy(lib, folder / "lib.sh"))


def _copy(source: Path, target: Path) -> Path:
    try:
        content = source.read_bytes()
    except OSError as e:
        raise UserError(f"a case's script cannot be read: {e.strerror}", where=str(source)) from e
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    except OSError as e:
        raise InfraError(f"could not copy a case to the results: {e.strerror}", where=str(target)) from e
    return target
