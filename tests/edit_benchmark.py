"""What a rerun costs, step by step, and the goals of the edit loop: ``python -m tests.benchmark --edit``.

The same three cases in the five cells of the default series: after an edit of a line of super.c, and
unchanged. Each row stands beside the bare commands that do the same: make in the builder's container for a
module, and a run's own ``reproduce.sh`` for guests, as many at once as kmodpipe has. ``--cells`` adds the
control in the cells of seven symbols.
"""

from __future__ import annotations

import json
import re
import resource
import shutil
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests import bare, watch_benchmark
from tests.support import caches

REPO = Path(__file__).resolve().parents[1]
TIMES = 5
EDITED_CELLS = 3
SEVEN = (
    "OVERLAY_FS_REDIRECT_DIR", "OVERLAY_FS_REDIRECT_ALWAYS_FOLLOW", "OVERLAY_FS_INDEX",
    "OVERLAY_FS_NFS_EXPORT", "OVERLAY_FS_XINO_AUTO", "OVERLAY_FS_METACOPY", "OVERLAY_FS_INDEX_NOUUID",
)  # fmt: skip
GOALS_S = {
    "a further cell": 1.8, "an edit": 6, "the first verdict": 3, "its first verdict": 3, "unchanged test": 6,
    "unchanged build": 0.6, "a whole suite": 8, "seven symbols": 45, "seven symbols, own CPU": 2,
}  # fmt: skip
Invoke = Callable[..., object]
Row = Callable[[str, Sequence[float], float, str], None]


@dataclass
class Spent:
    """What runs of one command took, in seconds, one of each list a run."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)  # of all processes but those of the engine
    own_cpu: list[float] = field(default_factory=list)  # of our own process
    steps: dict[str, list[tuple[float, float, int]]] = field(default_factory=dict)  # where there was one

    def add(self, began: float, before: resource.struct_rusage, run: Path) -> None:
        self.wall.append(time.monotonic() - began)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        self.cpu.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        self.own_cpu.append(sum(cost["own_cpu_s"] for cost in costs(run).values()))
        for name, cost in costs(run).items():
            self.steps.setdefault(name, []).append((cost["seconds"], cost["own_cpu_s"], int(cost["times"])))

    def lines(self) -> list[str]:
        found = [f"{'':28}    seconds   own CPU   times"]
        for name, rows in self.steps.items():
            seconds, cpu, times = (statistics.median(column) for column in zip(*rows, strict=True))
            found.append(f"{name:28} {seconds:10.2f} {cpu:9.2f} {times:7g}")
        wall, cpu = statistics.median(self.wall), statistics.median(self.cpu)
        found.append(f"{'from start to end':28} {wall:10.2f} {cpu:9.2f}         (CPU with children)")
        return found


def costs(run: Path) -> Mapping[str, Mapping[str, float]]:
    """Return what the command that wrote this run's events told of its steps."""
    events = [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines()]
    told = [event for event in events if event["event"] == "costs"]
    return {name: cost for name, cost in told[-1].items() if isinstance(cost, dict)}


@dataclass(frozen=True)
class Loop:
    """The commands of the loop, in a project of their own with a series that is edited."""

    invoke: Invoke
    cache: Path
    work: Path
    tree: Path

    @property
    def series(self) -> Path:
        return self.work / watch_benchmark.SERIES

    @property
    def words(self) -> tuple[str, ...]:
        named = [word for case in watch_benchmark.CASES for word in ("--case", case)]
        return ("test", "--series", str(self.series), *named)

    def run(self, spent: Spent, *words: str) -> Path:
        """Run a command once, and return its run's folder."""
        before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
        out = self.work / "out" / words[0]
        self.invoke(self.cache, out, *words)
        run = max(out.glob("2*"), key=lambda one: one.stat().st_mtime)
        spent.add(began, before, run)
        return run

    def edit(self) -> None:
        watch_benchmark.edit(self.series / watch_benchmark.PATCH)


def measure(row: Row, say: Callable[[str], object], loop: Loop, jobs: int, *, cells: bool) -> None:
    """Print the steps of each command and add the rows."""
    shutil.copytree(REPO / "patches" / watch_benchmark.SERIES, loop.series)
    # Also gets what is not there: the base, the guest.
    last = loop.run(Spent(), *loop.words)
    makes = _bare_modules(loop, last, jobs)
    guests = [bare.guests(last, jobs) for _ in range(TIMES)]
    suite = loop.run(Spent(), "test", "--no-control", "--cell", _CELL)
    whole = [bare.guests(suite, jobs) for _ in range(3)]
    booted = statistics.median(guests)
    compiled = statistics.median(makes["edited"])
    edited, unchanged, build = Spent(), Spent(), Spent()
    modules, further, suites = Spent(), list[float](), Spent()
    for number in range(TIMES):
        say(f"turn {number + 1} of {TIMES}")
        loop.edit()
        loop.run(edited, *loop.words)
        loop.run(unchanged, *loop.words)
        loop.run(build, "build", "--series", str(loop.series))
        key = (loop.cache / "store" / "module" / ".latest" / _CELL).read_text()
        shutil.rmtree(loop.cache / "store" / "module" / key)
        run = loop.run(modules, "build", "--series", str(loop.series))
        further.append(costs(run)["compiling"]["seconds"])
        if number < len(whole):
            loop.run(suites, "test", "--no-control", "--cell", _CELL)
    for name, spent in (
        ("a line of super.c changed", edited), ("unchanged test", unchanged), ("unchanged build", build),
        ("build of one further cell", modules), ("a whole suite", suites),
    ):  # fmt: skip
        say(f"{name}, median of {len(spent.wall)}")
        for line in spent.lines():
            say(f"  {line}")
    whole_watched, watched = (
        [_watched(line) for line in watch_benchmark.measure(TIMES, *options)[1:]]
        for options in (("--whole",), ())
    )
    rows = (
        ("a further cell", further, compiled), ("an edit", edited.wall, compiled * EDITED_CELLS + booted),
        ("the same in watch", [one[1] for one in whole_watched], compiled * EDITED_CELLS + booted),
        ("the first verdict", [one[0] for one in whole_watched], compiled + booted / 5),
        ("without the control", [one[1] for one in watched], (compiled + booted / 5) * EDITED_CELLS),
        ("its first verdict", [one[0] for one in watched], compiled + booted / 5),
        ("unchanged test", unchanged.wall, booted),
        ("unchanged build", build.wall, statistics.median(makes["unchanged"]) * 5),
        ("a whole suite", suites.wall, statistics.median(whole)),
    )  # fmt: skip
    if cells:
        many = _seven(loop)
        say("control in the cells of seven symbols")
        for line in many.lines():
            say(f"  {line}")
        rows += (
            ("seven symbols", many.wall, compiled * 30),
            ("seven symbols, own CPU", many.own_cpu, 0),
        )
    for what, seconds, reference in rows:
        goal = GOALS_S.get(what, GOALS_S["an edit"])
        row(f"{what} (goal {goal:g} s)", seconds, reference, "bare")


_CELL = f"{watch_benchmark.SERIES}.INDEX=y.NOUUID=n"
_CONTROL_CELL = "unpatched.INDEX=y.NOUUID=n"


def _watched(line: str) -> tuple[float, float]:
    """Return the seconds to the first verdict and to all, of the line that ends a round."""
    first, last = (float(word) for word in re.findall(r"([\d.]+) s", line)[:2])
    return first, last


def _bare_modules(loop: Loop, run: Path, jobs: int) -> Mapping[str, Sequence[float]]:
    """Return what ``make M=`` takes in the builder's container: with nothing to do, and with one object."""
    modules = loop.cache / "store" / "module"
    inputs = json.loads((modules / (modules / ".latest" / _CONTROL_CELL).read_text() / ".inputs").read_text())
    kit = loop.cache / "store" / "base" / inputs["base"] / "obj"
    return bare.turns(loop.tree, kit, (run / _CONTROL_CELL / "config").read_text(), loop.work / "bare", jobs)


def _seven(loop: Loop) -> Spent:
    """Build the control in the cells of overlayfs's seven symbols, with no module in the store."""
    folder = loop.work / "kconfigs"
    shutil.copytree(REPO / "kconfigs", folder)
    text = (folder / "matrix.toml").read_text()
    head, flavours = text.partition("[axes.")[0], text[text.index("# A flavour asks") :]
    axes = "".join(
        f'[axes.{one.removeprefix("OVERLAY_FS_")}]\nsymbol = "{one}"\nvalues = ["y", "n"]\n\n'
        for one in SEVEN
    )
    (folder / "matrix.toml").write_text(f"{head}{axes}{flavours}")
    own = caches.beside(loop.cache, loop.work / "cache-of-seven", "base", "guest")
    spent = Spent()
    Loop(loop.invoke, own, loop.work / "seven", loop.tree).run(
        spent, "build", "--series", "none", "--matrix", str(folder / "matrix.toml")
    )
    return spent
