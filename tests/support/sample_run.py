"""A small run as the overlayfs series gives it: control and one design, two axes, four cases."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from kmodpipe import results
from kmodpipe.report import junit
from kmodpipe.results import (
    CaseInfo,
    CaseResult,
    CellResult,
    DeadAxis,
    Run,
    State,
    Verdict,
    planned,
    with_cell,
)

INFOS = (
    CaseInfo("uuid-remount-index-on", "The disk's UUID changes; mounted again with index=on.", "mounted"),
    CaseInfo("uuid-remount-index-nouuid", "The same with index=nouuid.", "mounted"),
    CaseInfo("uuid-remount-default", "The same with no option.", "mounted"),
    CaseInfo("hardlinks-after-uuid-change", "Hardlinks through the same change.", "shared"),
)
VERIFIED = "the origin's UUID is verified"


def cell(variant: str, index: str, nouuid: str, **fields: object) -> CellResult:
    design = "none" if variant == "unpatched" else variant
    name = f"{variant}.INDEX={index}.NOUUID={nouuid}"
    return CellResult(name, variant, design, {"INDEX": index, "NOUUID": nouuid}, **fields)  # type: ignore[arg-type]


SKELETON = Run(
    "20201013-120000",
    "2020-10-13T12:00:00Z",
    INFOS,
    (
        cell("unpatched", "n", "n"),
        cell("unpatched", "y", "n"),
        cell("unpatched", "y", "y", state=State.SKIPPED, reason="the tree has no OVERLAY_FS_INDEX_NOUUID"),
        cell("index-nouuid", "n", "n"),
        cell(
            "index-nouuid",
            "n",
            "y",
            state=State.SKIPPED,
            reason="OVERLAY_FS_INDEX_NOUUID needs OVERLAY_FS_INDEX",
        ),
        cell("index-nouuid", "y", "n"),
        cell("index-nouuid", "y", "y"),
    ),
    {"tree": "linux-source-5.10 5.10.223-1"},
)


def seen(index: int, outcome: str, *, defect: bool = False, duration_s: float = 1.25) -> CaseResult:
    """A case that passed with this outcome."""
    info = INFOS[index]
    return CaseResult(
        info.id, Verdict.PASS, f"observed {outcome} as expected: {VERIFIED}", outcome, outcome, VERIFIED,
        goal_met=outcome == info.goal, known_defect=defect, duration_s=duration_s, attempts=1,
    )  # fmt: skip


def failed(index: int, outcome: str, expected: str) -> CaseResult:
    return replace(
        seen(index, outcome),
        verdict=Verdict.FAIL, expected=expected, evidence="ended: exit 0", output_excerpt="some output\n",
        message=f"expected {expected}, observed {outcome}: {VERIFIED}",
        kmsg=("overlayfs: failed to verify origin (/lower, ino=12, err=-116)",),
    )  # fmt: skip


def skipped(index: int) -> CaseResult:
    return CaseResult(INFOS[index].id, Verdict.SKIP, "the case skips itself: no xattr", attempts=1)


def ran(variant: str, index: str, nouuid: str, *cases: CaseResult) -> CellResult:
    return cell(
        variant, index, nouuid, state=State.RAN, cases=cases, properties={"accel": "tcg"},
        artifacts={name: f"cells/{variant}/{name}" for name in ("reproduce.sh", "console.log")},
    )  # fmt: skip


def finished() -> Run:
    """The sample, as it should come out."""
    run = planned(SKELETON)
    for result in (
        ran("unpatched", "n", "n", seen(0, "ESTALE"), seen(1, "EINVAL"), seen(2, "mounted"), skipped(3)),
        ran(
            "unpatched", "y", "n",
            seen(0, "ESTALE"), seen(1, "EINVAL"), seen(2, "ESTALE"), seen(3, "shared"),
        ),
        ran("index-nouuid", "n", "n", seen(0, "ESTALE"), seen(1, "mounted"), seen(2, "mounted"), skipped(3)),
        ran(
            "index-nouuid", "y", "n",
            seen(0, "ESTALE"), seen(1, "mounted"), seen(2, "ESTALE"), seen(3, "hardlinks-split", defect=True),
        ),
        ran(
            "index-nouuid", "y", "y",
            seen(0, "ESTALE"), seen(1, "mounted"), seen(2, "mounted"),
            seen(3, "hardlinks-split", defect=True),
        ),
    ):  # fmt: skip
        run = with_cell(run, result)
    return replace(run, finished="2020-10-13T12:01:00Z")


def change(run: Run, cell_id: str, result: CaseResult) -> Run:
    """``run`` with one case's result in one cell put in the place of the old one."""
    old = next(c for c in run.cells if c.cell == cell_id)
    cases = tuple(result if c.case == result.case else c for c in old.cases)
    return with_cell(run, replace(old, cases=cases))


_TWINS = ("index-nouuid.INDEX=y.NOUUID=y", "index-nouuid.INDEX=y.NOUUID=n")
DEAD = DeadAxis(
    "NOUUID", "OVERLAY_FS_INDEX_NOUUID", "index-nouuid", (_TWINS,), True,
    "axis NOUUID (OVERLAY_FS_INDEX_NOUUID) is dead in index-nouuid: nothing reads it",
    ("fs/overlayfs/super.c:42 tests CONFIG_OVERLAY_FS_NOUUID, which no Kconfig file defines",),
)  # fmt: skip
PARTLY = replace(DEAD, failure=False, message="axis NOUUID makes no difference where INDEX=y", clues=())


def on_disk(run: Run, out: Path) -> Path:
    """The run's folder below ``out``, with its results and the files that its cells name."""
    folder = out / run.id
    folder.mkdir(parents=True)
    results.save(run, folder / "results.json")
    junit.save(run, folder / "junit.xml")
    for one in run.cells:
        for name, place in one.artifacts.items():
            (folder / place).parent.mkdir(parents=True, exist_ok=True)
            (folder / place).write_text(f"{name} of {one.cell}\n")
    return folder


Y_Y = "index-nouuid.INDEX=y.NOUUID=y"
Y_N = "index-nouuid.INDEX=y.NOUUID=n"
