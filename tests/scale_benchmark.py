"""What a run of many cells costs: its plan, what a settled cell writes, its documents, its page in a browser.

``python -m tests.benchmark --scale``. The results are real ones, multiplied: those of a run over some cells,
put again and again under other choices of axes, with every text a copy of its own, and one in fifty made a
failure. The run is that of ``--from FOLDER``, or a new one of the default series.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from kmodpipe import results
from kmodpipe.report import html, junit
from kmodpipe.results import CaseResult, CellResult, Run, Span, State, Verdict, journal
from kmodpipe.results.journal import Journal
from kmodpipe.results.plain import line
from kmodpipe.util import document

CELLS, CASES = 1024, 100
KERNELS, SERIES = 4, 3
FAILS = 50
SETTLED = (10, 100, 1000)
SECONDS, MIB = 20, 500
PLAN_SECONDS, PLAN_MIB = 3, 300
OPEN_S, FILTER_S = 1.0, 0.1
Row = Callable[[str, Sequence[float], float, str], None]


def multiplied(run: Run, cells: int = CELLS, cases: int = CASES) -> Run:
    """A run of so many cells and cases, made of the results of a real one."""
    ran = [cell for cell in run.cells if cell.state is State.RAN]
    infos = [
        replace(info, id=f"{info.id}{f'-{turn}' if turn else ''}")
        for turn, info in itertools.product(range(cases // len(run.cases) + 1), run.cases)
    ][:cases]
    made = []
    each = max(cells // (KERNELS * (SERIES + 1)), 1)
    bits = max((each - 1).bit_length(), 1)
    for number in range(cells):
        where, choice = divmod(number, each)
        kernel, variant = f"kernel-{where % KERNELS}", where // KERNELS
        name = results.CONTROL if not variant else f"series-{variant}"
        axes = {f"AXIS{n}": "yn"[choice >> n & 1] for n in range(bits)}
        own = [cell for cell in ran if (cell.variant == results.CONTROL) == (not variant)] or ran
        made.append(_copy(own[number % len(own)], name, kernel, axes, [info.id for info in infos], number))
    spans = [Span("test", cell.cell, 1.6e9 + n * 1.5, 2.9) for n, cell in enumerate(made)]
    return replace(run, cases=tuple(infos), cells=tuple(made), timeline=tuple(spans), dead_axes=())


def _copy(
    cell: CellResult, variant: str, kernel: str, axes: dict[str, str], cases: Sequence[str], number: int
) -> CellResult:
    name = ".".join([variant, kernel, *(f"{axis}={value}" for axis, value in axes.items())])
    # Through JSON, so that no text is shared: a run has read each from a guest of its own.
    own = document.validated_text(CellResult, line(cell), "the cell", "")
    found = []
    for at, (case, result) in enumerate(zip(cases, itertools.cycle(own.cases), strict=False)):
        one = replace(document.validated_text(CaseResult, line(result), "the case", ""), case=case)
        found.append(_failed(one) if (number * (len(cases) + 1) + at) % FAILS == FAILS - 1 else one)
    files = {file: path.replace(cell.cell, name) for file, path in own.artifacts.items()}
    return replace(
        own, cell=name, variant=variant, kernel=kernel, choice=axes, cases=tuple(found), artifacts=files
    )


def _failed(result: CaseResult) -> CaseResult:
    message = f"expected {result.expected or 'mounted'}, observed EIO: {result.reason}"
    evidence = "\n".join([result.evidence, *result.kmsg, result.output_excerpt])
    return replace(
        result, verdict=Verdict.FAIL, outcome="EIO", message=message, evidence=evidence, goal_met=False,
        known_defect=False, attempts=1,
    )  # fmt: skip


# -- in a process of its own, for its memory ------------------------------------------------------------
def child(argv: Sequence[str]) -> None:
    """Make one thing of the multiplied run; print the seconds, those of a processor, and the peak in MiB."""
    what, source, folder = argv[0], Path(argv[1]), Path(argv[2])
    run = multiplied(results.load(source))
    began, worked = time.monotonic(), time.process_time()
    if what in ("results.json", "all"):
        results.save(run, folder / "results.json")
    if what in ("junit.xml", "all"):
        junit.save(run, folder / "junit.xml")
    if what in ("report.html", "all"):
        html.save(run, folder / "report.html")
    sys.stdout.write(json.dumps([time.monotonic() - began, time.process_time() - worked, _peak_mib()]))


def _peak_mib() -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(text.split()[1]) for text in lines if text.startswith("VmHWM")) / 1024


def made(what: str, source: Path, folder: Path) -> tuple[float, float, float]:
    folder.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        [sys.executable, "-m", "tests.scale_benchmark", what, str(source), str(folder)],
        capture_output=True, text=True, check=True, env=os.environ,
    )  # fmt: skip
    seconds, worked, peak = json.loads(done.stdout)
    return seconds, worked, peak


# -- a settled cell -------------------------------------------------------------------------------------
def settled(run: Run, cells: int, folder: Path) -> tuple[int, float]:
    """Bytes and milliseconds of one more cell, in a run in which so many are settled."""
    blank = tuple(replace(cell, cases=(), state=State.NOT_RUN) for cell in run.cells[: cells + 1])
    planned = results.planned(replace(run, cells=blank))
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    results.save(planned, folder / "results.json")
    written = Journal(planned, folder / journal.NAME)
    for cell in run.cells[1 : cells + 1]:
        written.settle(cell)
    before = sum(path.stat().st_size for path in folder.iterdir())
    began = time.monotonic()
    written.settle(run.cells[0])
    spent = time.monotonic() - began
    written.close()
    return sum(path.stat().st_size for path in folder.iterdir()) - before, spent * 1000


# -- the plan, and the page -------------------------------------------------------------------------------
# With the axes that the project has, 128 choices; with two variants and four flavours, 1,024 cells.
MORE_AXES = ("REDIRECT_DIR", "REDIRECT_ALWAYS_FOLLOW", "XINO_AUTO", "METACOPY", "NFS_EXPORT")
PLAN = ("plan", "--series", "index-nouuid", "--json")
FLAVOURS = ("plain", "xfs", "btrfs", "kasan")


def many_cells(root: Path, project: Path) -> tuple[str, ...]:
    """Make a copy of the project at *root* with more axes; return the words that plan all its cells."""
    shutil.copytree(root, project, ignore=shutil.ignore_patterns(".git", "out", "__pycache__", ".*cache"))
    matrix = project / "kconfigs/matrix.toml"
    axes = "".join(f'[axes.{n}]\nsymbol = "OVERLAY_FS_{n}"\nvalues = ["y", "n"]\n\n' for n in MORE_AXES)
    matrix.write_text(matrix.read_text().replace("[axes.NOUUID]", f"{axes}[axes.NOUUID]"))
    return (*PLAN, *(word for name in FLAVOURS for word in ("--flavour", name)))


# A filter, from the key to the picture: its own work, and the layout that it causes.
FILTER = """
new Promise((done) => {
  const form = document.getElementById("filter");
  form.elements.text.value = %s;
  const began = performance.now();
  form.requestSubmit();
  document.body.offsetHeight;
  requestAnimationFrame(() => setTimeout(() => done(performance.now() - began)));
})
"""


def page(url: str) -> tuple[float, float, list[float]]:
    """Seconds until a page is loaded, those of the tab's own thread, and those of some filters."""
    from tests.support.browser import browser

    with browser() as tab:
        tab.size(1280, 900)
        tab.call("Performance.enable", timeDomain="threadTicks")

        def worked() -> float:
            metrics = tab.call("Performance.getMetrics")["metrics"]
            return float(next(m["value"] for m in metrics if m["name"] == "ThreadTime"))

        before = worked()
        tab.open(url)
        tab.run("document.body.offsetHeight")
        own = worked() - before
        loaded = tab.run("performance.getEntriesByType('navigation')[0].loadEventEnd") / 1000
        texts = ("eio", "", "series-2 axis3=n", "no such thing", "known issue", "")
        return loaded, own, [tab.run(FILTER % json.dumps(text)) / 1000 for text in texts]


# -- all of it --------------------------------------------------------------------------------------------
def measure(row: Row, source: Path, work: Path) -> None:
    """Print ours beside the goals. *source* is the results.json of a real run."""
    run = multiplied(results.load(source))
    first = settled(run, SETTLED[0], work / "settled")
    for cells in SETTLED:
        size, spent = settled(run, cells, work / "settled")
        # The goal is that they cost what the first ones did.
        row(f"a settled cell behind {cells:,} others: written", [size / 1024], first[0] / 1024, "KiB")
        row("  its time, most of it the disk's", [spent], first[1], "ms")
    del run
    for what in ("results.json", "junit.xml", "report.html", "all"):
        seconds, worked, peak = made(what, source, work / what)
        named = "all three" if what == "all" else what
        row(f"{named} of {CELLS * CASES:,} results", [seconds], SECONDS, "s")
        row("  its processor time", [worked], SECONDS, "s")
        row("  memory, with the run in it", [peak], MIB, "MiB")
    files = list((work / "all").iterdir())
    for name in ("results*.json", "junit*.xml", "report.html"):
        sizes = [path.stat().st_size / 1e6 for path in (work / "all").glob(name)]
        row(f"  {name}: {len(sizes)} of {len(files)} files", [sum(sizes)], 0, "MB")
    if shutil.which("chromium"):
        loaded, worked, filters = page((work / "all" / "report.html").as_uri())
        row("the page opens", [loaded], OPEN_S, "s")
        row("  its processor time", [worked], OPEN_S, "s")
        row("  a filter", filters, FILTER_S, "s")


if __name__ == "__main__":
    child(sys.argv[1:])
