"""Our times beside the reference's, in one run: ``python -m tests.benchmark [--quick]``.

The reference is a bare ``make`` of the same base configuration, in the same container, from the same source;
beside it, what is left when its modules and guests are made by bare commands too.
Everything is measured as a user meets it, by running the commands; needs Docker and QEMU, the default tree
fetched (it is, if it is not here), and about twice the time of a cold kernel build. ``--quick`` leaves out
what compiles the base. ``--logs`` only parses kernel logs of 50 MiB, three times each. ``--starved`` does
nothing but boot guests that get hardly any processor, for some ten minutes: how many run into a limit that
counts seconds on the wall, and how many into ours. ``--guests`` runs a cell's whole suite in guests that
cases share, and with one for each case: the time, and whether the verdicts are the same. ``--modules`` is
about a module that is in no tree. ``--scale`` is about 1,024 cells with 100 cases each. ``--cluster``
simulates 2,000 cells on 100 workers, and 10,000 of which some workers are killed or slow, in eight minutes.
``--edit`` prints what each step of a rerun costs, and the goals of the edit loop; with ``--cells`` also the
control in the cells of seven symbols.
"""

from __future__ import annotations

import itertools
import json
import os
import resource
import select
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from kmodpipe.build.runtime.docker_engine import connect
from kmodpipe.cache.place import cache_folder
from kmodpipe.cli.invocation import Invocation
from kmodpipe.cli.options import RunOptions
from kmodpipe.cli.resolve import resolve
from kmodpipe.pipeline import config, workspace
from kmodpipe.util.screen import Mode, Screen
from tests import bare, edit_benchmark, log_benchmark, module_benchmark, scale_benchmark
from tests.faults.load import limits
from tests.support import caches

REPO = Path(__file__).resolve().parents[1]
SERIES = "index-nouuid"
CELL = f"{SERIES}.INDEX=y.NOUUID=n"
STARVED, SHARE = 4, 100
LOG_MIB, LOG_SECONDS, LOG_PEAK_MIB = 50, 30, 16
# Stops QEMU most of the time, so that it does not matter who else is here; what is measured is left alone.
STARVER = """\
#!/bin/sh
case $* in *isa-debug-exit* | *--version*) exec {real} "$@" ;; esac
(while kill -STOP $$ && sleep {stop} && kill -CONT $$ && sleep {run}; do :; done) 2>/dev/null &
exec {real} "$@"
"""
# The thread's own sequence with each option, and hard links through the same change.
THREAD = (
    "uuid-remount-index-on", "uuid-remount-index-nouuid", "uuid-remount-default",
    "remount-on-to-on-same-uuid", "remount-on-to-nouuid", "remount-on-to-default", "remount-on-to-off",
)  # fmt: skip
FLOOD = "#!/bin/sh\nyes 'a guest that prints and prints and prints' | head -c 8000000 | tee /dev/console\n"


@dataclass(frozen=True)
class Measured:
    """One run of a command: wall seconds, peak resident memory of its own process in MiB, its output."""

    seconds: float
    peak_mib: float
    out: Path


def invoke(cache: Path, out: Path, *argv: str, root: Path = REPO, codes: Sequence[int] = (0,)) -> Measured:
    """Run a command with results in *out*; end the benchmark if it fails, as its time would mean nothing."""
    before = set(out.glob("*"))
    with tempfile.TemporaryFile() as output:
        started = time.monotonic()
        child = subprocess.Popen(
            [sys.executable, "-m", "invoke", *argv, "--out", str(out)],
            cwd=root,
            env={**os.environ, "KMODPIPE_CACHE": str(cache)},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        peak_kib = 0
        # Woken by the end, and seldom before: each look takes of the time that is measured.
        ended = os.pidfd_open(child.pid)
        while not select.select([ended], [], [], 0.1)[0]:
            peak_kib = max(peak_kib, high_water_kib(child.pid))
        seconds = time.monotonic() - started
        os.close(ended)
        if child.wait() not in codes:
            output.seek(0)
            said = output.read().decode(errors="replace")
            sys.exit(f"invoke {' '.join(argv)} ended with {child.returncode}:\n{said}")
    # A plan makes no run.
    (run,) = [one for one in set(out.glob("*")) - before if one.is_dir() and not one.is_symlink()] or [out]
    return Measured(seconds, peak_kib / 1024, run)


def high_water_kib(pid: int) -> int:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")), 0)


def step_seconds(run: Path, kind: str) -> list[float]:
    events = [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines()]
    return [e["seconds"] for e in events if e["event"] == "end" and e["step"].startswith(f"{kind} ")]


def cells(run: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((run / "results.json").read_text())["run"]["cells"]
    return found


def cell_property(run: Path, name: str) -> list[float]:
    return [float(c["properties"][name]) for c in cells(run) if name in c["properties"]]


def containers_started(since: float, until: float) -> int:
    events = connect().api.events(
        since=int(since), until=int(until) + 1, decode=True, filters={"type": "container", "event": "start"}
    )
    return sum(1 for _ in events)


class Report:
    """The rows, printed as they come and as a table at the end."""

    def __init__(self) -> None:
        self.table = Table("what", "ours", "reference or limit", "ratio", box=None)
        self.console = Console(width=110)

    def row(
        self, what: str, ours: Sequence[float], limit: float, unit: str = "s", *, bound: str = "limit"
    ) -> None:
        median = statistics.median(ours)
        spread = f" ({min(ours):.2f}–{max(ours):.2f}, n={len(ours)})" if len(ours) > 1 else ""
        columns = (
            what,
            f"{median:.2f} {unit}{spread}",
            f"{limit:.2f} {unit} {bound}",
            f"{median / limit:.2f}" if limit else "",
        )
        self.table.add_row(*columns)
        self.console.print("  ".join(columns))


def main(argv: Sequence[str]) -> int:
    # Users have it not: each command would compile the package anew, a quarter of a second.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    if {"--help", "-h"} & set(argv):
        print(__doc__)
        return 0
    if "--logs" in argv:
        parsing()
        return 0
    if "--cluster" in argv:
        from tests import cluster_simulation

        print(cluster_simulation.main())
        return 0
    project = config.load(REPO)
    asked = resolve(RunOptions(), Invocation(REPO))
    users_cache = cache_folder()
    (tree,) = workspace.fetch_kernels(asked, users_cache, Screen(Mode.PLAIN)).values()
    report = Report()
    with tempfile.TemporaryDirectory(prefix="benchmark-", dir=users_cache) as folder:
        work = Path(folder)
        if "--modules" in argv:
            module_benchmark.measure(
                lambda what, ours, limit, bound: report.row(what, ours, limit, bound=bound),
                users_cache, work, project.jobs,
            )  # fmt: skip
            report.console.print(report.table)
            return 0
        if "--edit" in argv:
            edit_benchmark.measure(
                lambda what, ours, limit, bound: report.row(what, ours, limit, bound=bound),
                report.console.print,
                # What was made last for a cell may be of another tree in the user's own.
                edit_benchmark.Loop(
                    invoke, caches.beside(users_cache, work / "cache", "base", "guest"), work, tree.path
                ),
                project.jobs,
                cells="--cells" in argv,
            )
            report.console.print(report.table)
            return 0
        if "--scale" in argv:
            scale(report, users_cache, work, argv)
            report.console.print(report.table)
            return 0
        if "--guests" in argv:
            guests(report, users_cache, work)
            return 0
        if "--starved" in argv:
            starved(report, work)
            return 0
        if "--quick" in argv:
            cache = caches.beside(users_cache, work / "cache", "base", "guest")
        else:
            cache = cold(report, users_cache, work, tree.path, project.jobs)
        small(report, cache, work)
    report.console.print()
    report.console.print(report.table)
    return 0


def parsing() -> None:
    """Kernel logs of each kind, parsed: the time, and the memory of a tenth of it."""
    report = Report()
    for name, text in log_benchmark.texts().items():
        spent = [log_benchmark.seconds(text, LOG_MIB) for _ in range(3)]
        report.row(f"{LOG_MIB} MiB of {name}", spent, LOG_SECONDS)
        report.row("  memory", [log_benchmark.peak_mib(text, LOG_MIB // 10)], LOG_PEAK_MIB, "MiB")
    report.console.print(report.table)


def starved(report: Report, work: Path) -> None:
    """Guests that get one in so many of a processor's seconds. A patience of 1 is a limit on the wall."""
    program = work / "bin" / "qemu-system-x86_64"
    program.parent.mkdir()
    program.write_text(STARVER.format(real=shutil.which(program.name), run=1 / SHARE, stop=1 - 1 / SHARE))
    program.chmod(0o755)
    path = {"PATH": f"{program.parent}:{os.environ['PATH']}"}
    failed = []
    for patience in (1, 10):
        project = limits.make_project(work / f"project-{patience}")
        with (project / "pyproject.toml").open("a") as settings:
            settings.write(f"\n[tool.kmodpipe.deadlines]\npatience = {patience}\n")
        out = work / f"starved-{patience}"
        argv = [sys.executable, "-m", "invoke", "test", "--no-control", "--cell", CELL, "--out", str(out)]
        argv += ["--case", str(REPO / "tests/faults/kernel/use.sh"), "--repeat", str(STARVED)]
        subprocess.run(argv, cwd=project, env={**os.environ, **path}, capture_output=True, check=False)
        (case,) = (c["cases"][0] for c in cells(out / "latest") if c["cell"] == CELL)
        report.console.print(f"patience {patience}: {case['message'][:400]}", highlight=False)
        failed.append(case["failures"])
    what = f"of {STARVED} guests with 1/{SHARE} of a processor, run into a limit"
    report.row(what, [failed[1]], failed[0], "", bound="on the wall")


def guests(report: Report, cache: Path, work: Path) -> None:
    """A cell's whole suite in shared guests and with a fresh one for every case, three times each in turn."""
    alone = work / "alone"
    shutil.copytree(REPO, alone, ignore=shutil.ignore_patterns(".git", "out", "__pycache__", ".*cache"))
    for file in (alone / "images/guest/cases").glob("*/case.toml"):
        text = file.read_text().replace("\nalone = true\n", "\n")
        file.write_text(text.replace("[[case]]\n", "[[case]]\nalone = true\n"))
    words = ("test", "--no-control", "--cell", CELL)
    seconds: dict[Path, list[float]] = {REPO: [], alone: []}
    verdicts = []
    for _ in range(3):
        for root, taken in seconds.items():
            ran = invoke(cache, work / "out", *words, root=root)
            taken += cell_property(ran.out, "guest-seconds")
            (cell,) = cells(ran.out)
            verdicts.append({case["case"]: (case["verdict"], case["outcome"]) for case in cell["cases"]})
            report.console.print(f"{cell['properties']['boots']} guests for {len(cell['cases'])} cases")
    report.row(
        "a cell's whole suite, a guest for every case", seconds[alone],
        statistics.median(seconds[REPO]), bound="shared",
    )  # fmt: skip
    same = all(one == verdicts[0] for one in verdicts)
    report.console.print(f"the verdicts of the six runs are {'the same' if same else 'NOT THE SAME'}")


def scale(report: Report, cache: Path, work: Path, argv: Sequence[str]) -> None:
    """A plan of 1,024 cells, and the documents of so many: the results of a real run, multiplied."""
    words = scale_benchmark.many_cells(REPO, work / "many")
    planned, worked = [], []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        planned.append(invoke(cache, work / "plan", *words, root=work / "many"))
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        worked.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    goal = scale_benchmark.PLAN_SECONDS
    what = f"invoke plan of {scale_benchmark.CELLS:,} cells"
    report.row(what, [m.seconds for m in planned], goal, bound="goal")
    report.row("  its processor time", worked, goal, bound="goal")
    report.row("  memory", [m.peak_mib for m in planned], scale_benchmark.PLAN_MIB, "MiB", bound="goal")
    given = dict(itertools.pairwise(argv)).get("--from")
    real = Path(given) if given else invoke(cache, work / "real", "test", "--series", "index-nouuid").out
    scale_benchmark.measure(
        lambda what, ours, limit, unit: report.row(
            what, ours, limit, unit, bound="goal" if limit else "(no goal)"
        ),
        real / "results.json", work / "scale",
    )  # fmt: skip


def cold(report: Report, users_cache: Path, work: Path, tree: Path, jobs: int) -> Path:
    """Add the rows of a run that has a base to compile, and return its cache."""
    # An empty store beside the same fetched trees: cold after set-up and download.
    cache = caches.empty(users_cache, work / "cache")
    ours = invoke(cache, work / "cold", "ci", *(word for case in THREAD for word in ("--case", case)))
    config = next((cache / "store" / "base").glob("*/out/base.config")).read_text()
    base = bare.base(tree, config, work / "bare", jobs)
    patched = bare.patched(tree, REPO / "patches" / SERIES, work / "patched")
    rest = bare.guests(ours.out, jobs)
    for name, source in (("unpatched", tree), (SERIES, patched)):
        configs = [one.read_text() for one in sorted(ours.out.glob(f"{name}.*/config"))]
        rest += bare.modules(source, configs, work / "bare", jobs)
    report.row("cold invoke ci, the thread's cases", [ours.seconds], base, bound="bare make")
    report.row("  as bare commands, modules and guests too", [base + rest], base, bound="bare make")
    whole = invoke(cache, work / "whole", "ci", "--series", "index-nouuid", "--series", "uuid-off")
    report.row("whole suite, control and both designs, added", [whole.seconds], base, bound="bare make")
    report.row("one cell's whole suite", cell_property(whole.out, "guest-seconds"), 60)
    return cache


def small(report: Report, cache: Path, work: Path) -> None:
    """What a developer waits for with the base there."""
    invoke(cache, work / "warm", "build")
    modules: list[float] = []
    for _ in range(5):
        key = (cache / "store" / "module" / ".latest" / CELL).read_text()
        shutil.rmtree(cache / "store" / "module" / key)
        modules += step_seconds(invoke(cache, work / "modules", "build").out, "module")
    report.row("one more cell of the series, build", modules, 5)
    case = ("--no-control", "--cell", CELL, "--case", "uuid-remount-index-nouuid")
    runs = [invoke(cache, work / "case", "test", *case).out.resolve() for _ in range(5)]
    report.row("kernel to /init", [s for r in runs for s in cell_property(r, "kernel-to-init-seconds")], 2)
    report.row(
        "the thread's reproducer, boot to verdict",
        [s for r in runs for s in cell_property(r, "guest-seconds")],
        5,
    )
    began = time.time()
    unchanged = [invoke(cache, work / "unchanged", "build") for _ in range(5)]
    report.row("unchanged invoke build", [m.seconds for m in unchanged], 2)
    report.console.print(f"containers started by those: {containers_started(began, time.time())}")
    script = work / "flood.sh"
    script.write_text(FLOOD)
    words = ("test", "--no-control", "--cell", CELL, "--case", str(script))
    # No verdict: it runs into the limit of what a guest prints.
    flooded = invoke(cache, work / "flood", *words, codes=(0, 3))
    report.row("our process while a guest prints", [flooded.peak_mib], 150, "MiB")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
