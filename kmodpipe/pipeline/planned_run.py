"""Put together the record of a run before anything of it has run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from kmodpipe import results
from kmodpipe.pipeline import provenance, question
from kmodpipe.pipeline.snapshot import Snapshot
from kmodpipe.pipeline.workspace import Workspace
from kmodpipe.results import CaseInfo, CellResult, Run
from kmodpipe.vm.accel import Accel


def planned_run(
    workspace: Workspace,
    run_id: str,
    began: datetime,
    snapshot: Snapshot,
    accel: Accel,
    notes: Mapping[str, str],
) -> Run:
    """Return the run with its cells and cases, each as not run; ``notes`` are added to its properties."""
    given = workspace.spec.case_arguments
    # As they were copied: the user may edit the others meanwhile.
    spec = replace(workspace.spec, cases=snapshot.cases)
    asked = question.case_facts(spec)
    cases = tuple(
        CaseInfo(
            c.id, c.summary, c.goal, snapshot.digest(c), given.get(c.id, ""), asked.get(c.id, ""), c.unruled
        )
        for c in snapshot.cases
    )
    cells = tuple(
        CellResult(
            c.id, c.variant.name, c.variant.design, dict(c.choice), flavour=c.flavour.name, kernel=c.kernel
        )
        for c in spec.cells
    )
    properties = provenance.of_run(replace(workspace, spec=spec), accel, notes)
    began_at = began.isoformat(timespec="seconds")
    return results.planned(Run(run_id, began_at, cases, cells, properties))
