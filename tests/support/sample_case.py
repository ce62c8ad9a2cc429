"""One case, the kinds of cell it runs in, and what a guest may tell of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from kmodpipe.judge.cases import Case, CellContext, Expectation
from kmodpipe.judge.precedence import Default, Setting
from kmodpipe.logs.case_record import CaseRecord
from kmodpipe.results import CaseResult


@dataclass(frozen=True)
class Rec:
    type: str
    fields: Mapping[str, str] = field(default_factory=dict)


def record(kind: str, index: int = 0, **fields: object) -> Rec:
    return Rec(kind, {"case": str(index), **{k: str(v) for k, v in fields.items()}})


CASE = Case(
    "remount",
    "a summary",
    Path("run.sh"),
    goals=("mounted",),
    needs=("EXT4_FS",),
    expect=(
        Expectation(
            "mounted", "because", {"design": ("nouuid",)}, kmsg=("single fs",), observe={"nlink": "3"}
        ),
        Expectation("split", "the name holds the UUID", {"design": ("posted",)}, defect=True),
        Expectation("ESTALE", "verified", {"design": ("none",), "INDEX": ("y",)}),
    ),
)
CONFIG = {"EXT4_FS": "y"}
NOUUID = CellContext("nouuid.INDEX=y", "nouuid", "nouuid", {"INDEX": "y"}, CONFIG)
POSTED = replace(NOUUID, variant="posted", design="posted")
CONTROL = CellContext("unpatched.INDEX=y", "unpatched", "none", {"INDEX": "y"}, CONFIG)
GOOD = CaseRecord(
    0, "remount", True, True, "exit", 0, 1500, {"outcome": "mounted", "nlink": "3"}, ("mounted",),
    b"hello\n", ("overlayfs: requires a single fs for lower and upper",),
)  # fmt: skip


def told(result: CaseResult) -> tuple[str, str]:
    return result.verdict.value, result.message


SETTING = Setting(
    designs=("nouuid",),
    parameter="index",
    defaults=(Default("on", {"INDEX": ("y",)}), Default("off")),
    reads={"on": "Y", "off": "N"},
    accepts={"Y": "on", "N": "off"},
    options={"index=on": "on", "index=off": "off"},
    effects={
        "on": {"shown": "on", "stored": "real", "after": "ESTALE"},
        "off": {"shown": "off", "stored": "real", "after": "mounted"},
    },
)
LAYERED = replace(CASE, expect=(), goals=("as-ruled",), settings=(SETTING,))
