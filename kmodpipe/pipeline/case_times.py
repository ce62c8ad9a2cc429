"""Deal a cell's cases out to several guests, by how long each took when it last ran."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import median

from kmodpipe.results import CellResult
from kmodpipe.util import kept

_KIND = "case-times"
# Any other number is none that was noted.
_LONGEST_S = 86_400
# Of cases that were run last; a project's own are fewer.
_MOST = 5000


def recall(cache: Path, project: Path) -> Mapping[str, float]:
    """Return how many seconds each case of a ``project`` took when it last ran, as far as that is known."""
    found = kept.noted(cache, _KIND, project)
    return {name: float(s) for name, s in found.items() if isinstance(s, int | float) and 0 < s < _LONGEST_S}


def remember(cache: Path, project: Path, cells: Iterable[CellResult]) -> None:
    """Note how long the cases of these cells took; of a case in several cells the median."""
    took: dict[str, list[float]] = {}
    for case in (case for cell in cells for case in cell.cases):
        if case.duration_s > 0:
            took.setdefault(case.case, []).append(case.duration_s)
    if not took:
        return
    before = {name: s for name, s in recall(cache, project).items() if name not in took}
    now = {**before, **{name: round(median(seconds), 3) for name, seconds in took.items()}}
    kept.note(cache, _KIND, project, dict(list(now.items())[-_MOST:]))


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
