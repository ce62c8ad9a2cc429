"""What came of a run.

    model      the records, and the rule that nothing planned vanishes
    effects    what a series did, against the control
    document   results.json

`kmodpipe.report` writes what people and other programs read.
"""

from kmodpipe.kconfig.matrix import CONTROL
from kmodpipe.results.document import SCHEMA, VERSION, from_json, load, save, to_json
from kmodpipe.results.effects import Effect, EffectKind, control_of, effects
from kmodpipe.results.model import (
    ENDED_EARLY,
    Attempt,
    CaseInfo,
    CaseResult,
    CellResult,
    DeadAxis,
    Run,
    Span,
    State,
    Verdict,
    exit_code,
    interrupted,
    planned,
    totals,
    with_cell,
)

__all__ = [
    "CONTROL",
    "ENDED_EARLY",
    "SCHEMA",
    "VERSION",
    "Attempt",
    "CaseInfo",
    "CaseResult",
    "CellResult",
    "DeadAxis",
    "Effect",
    "EffectKind",
    "Run",
    "Span",
    "State",
    "Verdict",
    "control_of",
    "effects",
    "exit_code",
    "from_json",
    "interrupted",
    "load",
    "planned",
    "save",
    "to_json",
    "totals",
    "with_cell",
]
