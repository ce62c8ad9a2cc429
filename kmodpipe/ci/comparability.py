"""What a run is asked, as far as it is known before anything is built: equal questions have equal answers,
if the kernel under test is the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from kmodpipe import __version__
from kmodpipe.judge.attempts import Tries
from kmodpipe.judge.cases import Case
from kmodpipe.pipeline.workspace import Asked


def facts(asked: Asked, cases: Sequence[Case], tries: Tries) -> Mapping[str, str]:
    """Digests of series, matrix and cases, and how cases are run, by the names of a run's properties."""
    lib = (asked.project.images / "guest" / "lib.sh").read_bytes()
    found = {
        "kmodpipe": __version__,
        "module": asked.module,
        "matrix.digest": asked.matrix.digest,
        "shuffle": str(asked.request.shuffle),
        "attempts": str(tries.attempts),
        "repeat": str(tries.repeat),
    }
    found |= {f"series.{one.name}": one.digest for one in asked.series}
    return found | {f"case.{case.id}": case.digest(lib) for case in cases}
