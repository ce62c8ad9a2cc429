"""The options of every command: one frozen dataclass a group, one field an option.

Made from the fields are the Invoke tasks (`tasks.py`), the help and the check of a command line (`usage.py`),
its completion (`completion.py`), further command lines (`command_line`: that of a fan-out job, and the one
that runs a result again), and the question of --if-changed (`question`). `COMMANDS` says which command takes
which group.
"""

from __future__ import annotations

from collections.abc import Mapping

from kmodpipe.cli.option import Option, Use, Values
from kmodpipe.cli.options.analysis import CheckOptions
from kmodpipe.cli.options.bisect import BisectOptions
from kmodpipe.cli.options.cells import (
    BuildOptions,
    MakeOptions,
    PlanOptions,
    RunOptions,
    SourceOptions,
    TreeOptions,
)
from kmodpipe.cli.options.derived import Common, command_line, forms_of, options_of, question, taken_from
from kmodpipe.cli.options.others import (
    CleanOptions,
    CollectOptions,
    ConfigOptions,
    DoctorOptions,
    InitOptions,
    PublishOptions,
    ReportOptions,
    SetupOptions,
)
from kmodpipe.cli.options.runs import (
    AblateOptions,
    AttachOptions,
    BootOptions,
    CiOptions,
    CoverOptions,
    MatrixOptions,
    TestOptions,
    TryOptions,
    WatchOptions,
)

COMMANDS: Mapping[str, type[Common]] = {
    "init": InitOptions,
    "config": ConfigOptions,
    "setup": SetupOptions,
    "doctor": DoctorOptions,
    "fetch": TreeOptions,
    "patch": SourceOptions,
    "plan": PlanOptions,
    "build": MakeOptions,
    "boot": BootOptions,
    "try": TryOptions,
    "test": TestOptions,
    "watch": WatchOptions,
    "ci": CiOptions,
    "attach": AttachOptions,
    "cover": CoverOptions,
    "ablate": AblateOptions,
    "bisect": BisectOptions,
    "check": CheckOptions,
    "matrix": MatrixOptions,
    "collect": CollectOptions,
    "report": ReportOptions,
    "publish": PublishOptions,
    "clean": CleanOptions,
}
"""Each command, a function of `commands`, and the group of its options."""


VERBS: Mapping[str, str] = {"config": "check"}
"""What may stand behind the name of a command in the program; Invoke would take it for another task."""

__all__ = [
    "COMMANDS",
    "VERBS",
    "AblateOptions",
    "AttachOptions",
    "BisectOptions",
    "BootOptions",
    "BuildOptions",
    "CheckOptions",
    "CiOptions",
    "CleanOptions",
    "CollectOptions",
    "Common",
    "ConfigOptions",
    "CoverOptions",
    "DoctorOptions",
    "InitOptions",
    "MakeOptions",
    "MatrixOptions",
    "Option",
    "PlanOptions",
    "PublishOptions",
    "ReportOptions",
    "RunOptions",
    "SetupOptions",
    "SourceOptions",
    "TestOptions",
    "TreeOptions",
    "TryOptions",
    "Use",
    "Values",
    "WatchOptions",
    "command_line",
    "forms_of",
    "options_of",
    "question",
    "taken_from",
]
