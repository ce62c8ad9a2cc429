"""The results of a run: the records that the judge fills in and the reports read, and results.json. Pure.

    model      the records; every planned case is in them from the start
    effects    what a series changed, compared with the control
    document   results.json

In: verdicts of the judge. Out: a `Run`, which `kmodpipe.report` turns into HTML, JUnit, text and mail.
"""

from kmodpipe.kconfig.matrix import CONTROL
from kmodpipe.results.against_control import judged_against_control
from kmodpipe.results.document import SCHEMA, VERSION, from_json, load, save, to_json
from kmodpipe.results.effects import Effect, EffectKind, compared_with, control_of, effects, uncompared
from kmodpipe.results.model import (
    ALLOW_EMPTY,
    CLOSE_TO_LIMIT,
    ENDED_EARLY,
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
    Unjudged,
    Verdict,
    exit_code,
    interrupted,
    may_be_empty,
    of_tree,
    planned,
    progress,
    totals,
    unjudged,
    with_cell,
)

__all__ = [
    "ALLOW_EMPTY",
    "CLOSE_TO_LIMIT",
    "CONTROL",
    "ENDED_EARLY",
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
    "interrupted",
    "judged_against_control",
    "load",
    "may_be_empty",
    "of_tree",
    "planned",
    "progress",
    "save",
    "to_json",
    "totals",
    "uncompared",
    "unjudged",
    "with_cell",
]
