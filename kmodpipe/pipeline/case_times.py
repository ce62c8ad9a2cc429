"""Deal a cell's cases out to several guests, by how long each took when it last ran.

CACHE/kept/case-times/<digest of the project's folder>.json   seconds by the case's name
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from statistics import median

from kmodpipe.results import CaseResult, CellResult
from kmodpipe.util import document, kept
from kmodpipe.util.digest import digest_of
from kmodpipe.util.files import write_atomically

# Of cases that were run last; a project's own are fewer.
_MOST = 5000


def recall(cache: Path, project: Path) -> Mapping[str, float]:
    """Return how many seconds each case of a ``project`` took when it last ran, as far as that is known."""
    with suppress(OSError, ValueError, TypeError):
        found = document.read_object(_file(cache, project))
        return {name: float(str(seconds)) for name, seconds in found.items()}
    return {}


def remember(cache: Path, project: Path, cells: Iterable[CellResult]) -> None:
    """Note how long the cases of these cells took; of a case in several cells the median."""
    took: dict[str, list[float]] = {}
    for case in (case for cell in cells for case in cell.cases):
        if _ran(case):
            took.setdefault(case.case, []).append(case.duration_s)
    if not took:
        return
    before = {name: s for name, s in recall(cache, project).items() if name not in took}
    now = {**before, **{name: round(median(seconds), 3) for name, seconds in took.items()}}
    file = _file(cache, project)
    # A cache that cannot be written to deals as if nothing was known.
    with suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(file, json.dumps(dict(list(now.items())[-_MOST:])))


def _ran(case: CaseResult) -> bool:
    return case.duration_s > 0


def _file(cache: Path, project: Path) -> Path:
    return cache / kept.FOLDER / "case-times" / f"{digest_of(str(project))[:32]}.json"


def dealt(cases: Sequence[int], seconds: Mapping[int, float], parts: int) -> list[list[int]]:
    """Return ``parts`` lists of ``cases``, each in their order, that take about as long.

    A case that is not in ``seconds`` counts as long as the others do in the middle. Where nothing is known,
    every second case goes to the next list: those of one kind, which take as long, stand together.
    """
    if not seconds:
        return [list(cases[part::parts]) for part in range(parts)]
    usual = median(seconds.values())
    lists: list[list[int]] = [[] for _ in range(parts)]
    sums = [0.0] * parts
    for index in sorted(cases, key=lambda index: -seconds.get(index, usual)):
        part = sums.index(min(sums))
        lists[part].append(index)
        sums[part] += seconds.get(index, usual)
    places = {index: place for place, index in enumerate(cases)}
    return sorted((sorted(one, key=places.__getitem__) for one in lists), key=lambda one: places[one[0]])
