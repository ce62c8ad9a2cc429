"""The facts about a run that are known before anything is built.

Two runs with equal facts, of the same kernel, test the same thing.
"""

from __future__ import annotations

from collections.abc import Mapping

from kmodpipe import __version__
from kmodpipe.pipeline.run_spec import RunSpec


def facts(spec: RunSpec) -> Mapping[str, str]:
    """Return digests of series, matrix and cases, and how the cases run; keys are those of run properties."""
    lib = (spec.project.images / "guest" / "lib.sh").read_bytes()
    found = {
        "kmodpipe": __version__,
        "module": spec.module,
        "matrix.digest": spec.matrix.digest,
        "shuffle": str(spec.shuffle),
        "attempts": str(spec.retries.attempts),
        "repeat": str(spec.retries.repeat),
    }
    found |= {f"series.{one.name}": one.digest for one in spec.series}
    return found | {f"case.{case.id}": case.digest(lib) for case in spec.cases}
