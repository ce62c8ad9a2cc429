"""The results of a run: the records that the judge fills in and the reports read, and results.json. Pure.

    model      the records
    filling    every planned case is in a run from the start, and stays
    outcome    exit code, totals, and whether anything was judged
    effects    what a series changed, compared with the control
    document   results.json
    journal    cells.jsonl: what is settled while a run goes on

In: verdicts of the judge. Out: a `Run`, which `kmodpipe.report` turns into HTML, JUnit, text and mail.
"""

from kmodpipe.kconfig.matrix import CONTROL
from kmodpipe.results.against_control import judged_against_control
from kmodpipe.results.document import SCHEMA, VERSION, from_json, load, save, to_json
from kmodpipe.results.effects import (
    Controls,
    Effect,
    EffectKind,
    compared_with,
    control_of,
    effects,
    uncompared,
)
from kmodpipe.results.filling import interrupted, planned, progress, with_cell, with_cells
from kmodpipe.results.model import (
    ALLOW_EMPTY,
    CHECKED,
    CLOSE_TO_LIMIT,
    ENDED_EARLY,
    OWN_IDENTITY,
    OWN_MODULE,
    REFUSED,
    WORKTREE,
    WOULD_REFUSE,
    Attempt,
    CaseInfo,
    CaseResult,
    CellResult,
    DeadAxis,
    Run,
    Span,
    State,
    Verdict,
    of_tree,
)
from kmodpipe.results.outcome import (
    Unjudged,
    exit_code,
    in_words,
    is_fixed,
    may_be_empty,
    totals,
    unjudged,
)

__all__ = [
    "ALLOW_EMPTY",
    "CHECKED",
    "CLOSE_TO_LIMIT",
    "CONTROL",
    "ENDED_EARLY",
    "OWN_IDENTITY",
    "OWN_MODULE",
    "REFUSED",
    "SCHEMA",
    "VERSION",
    "WORKTREE",
    "WOULD_REFUSE",
    "Attempt",
    "CaseInfo",
    "CaseResult",
    "CellResult",
    "Controls",
    "DeadAxis",
    "Effect",
    "EffectKind",
    "Run",
    "Span",
    "State",
    "Unjudged",
    "Verdict",
    "compared_with",
    "control_of",
    "effects",
    "exit_code",
    "from_json",
    "in_words",
    "interrupted",
    "is_fixed",
    "judged_against_control",
    "load",
    "may_be_empty",
    "of_tree",
    "plain",
    "planned",
    "progress",
    "save",
    "to_json",
    "totals",
    "uncompared",
    "unjudged",
    "with_cell",
    "with_cells",
]
