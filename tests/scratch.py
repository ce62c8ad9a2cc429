"""Compare cells with builds from nothing, byte for byte: ``python -m tests.scratch [--cells N] [--whole]``.

A cell's modules are compiled against a kit, next to other cells, in a cache; here they are compiled again in
an empty object folder. ``--whole`` compiles vmlinux from the cell's own source and configuration as well,
instead of the base's, and compares it: 5 to 20 minutes a cell. ``--cells`` takes a sample, every variant in
turn.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from kmodpipe.build.kbuild import make_flags
from kmodpipe.build.runtime import Folder, Job
from kmodpipe.build.sharing import Subject
from kmodpipe.cli.invocation import Invocation
from kmodpipe.cli.options import RunOptions
from kmodpipe.cli.resolve import resolve
from kmodpipe.pipeline import building
from kmodpipe.pipeline.builder import BuiltCell
from kmodpipe.pipeline.run_folder import RunFolder
from kmodpipe.pipeline.workspace import Workspace, set_up
from kmodpipe.util.digest import digest_file
from kmodpipe.util.screen import Mode, Screen

REPO = Path(__file__).resolve().parents[1]
_TIMEOUT_S = 4 * 3600


@dataclass(frozen=True)
class Compared:
    """One cell: how long it took from nothing, and which products have the same bytes."""

    cell: str
    seconds: float
    same: tuple[str, ...]
    different: tuple[str, ...]


def sample(cells: Iterable[BuiltCell], most: int) -> list[BuiltCell]:
    """At most ``most`` cells, the last of each variant first: it was built after others of its variant."""
    variants: dict[str, list[BuiltCell]] = {}
    for one in cells:
        variants.setdefault(one.cell.variant.name, []).append(one)
    turns = max(map(len, variants.values()), default=0)
    chosen = [group[-1 - turn] for turn in range(turns) for group in variants.values() if turn < len(group)]
    return chosen[:most]


def compare(workspace: Workspace, built: BuiltCell, folder: Path, *, whole: bool) -> Compared:
    """Build a cell from nothing below ``folder``, and compare its products."""
    subjects = workspace.kernel_of(built.cell).subjects
    subject = next(s for s in subjects if s.variant.name == built.cell.variant.name)
    made, seconds = _from_nothing(workspace, subject, built, folder, whole=whole)
    ours = {path.name: path for path in (built.module.path / "out").glob("*.ko")}
    if whole:
        ours["vmlinux"] = built.base.path / "out" / "vmlinux"
    same = {name for name in ours if name in made and digest_file(ours[name]) == digest_file(made[name])}
    different = {*ours, *made} - same
    return Compared(built.cell.id, seconds, tuple(sorted(same)), tuple(sorted(different)))


def _from_nothing(
    workspace: Workspace, subject: Subject, built: BuiltCell, folder: Path, *, whole: bool
) -> tuple[dict[str, Path], float]:
    final = built.configured.final
    places = {name: folder / name for name in ("ask", "obj", "out")}
    for place in places.values():
        place.mkdir(parents=True)
    (places["ask"] / "cell.config").write_text(built.configured.text)
    job = Job(
        name=f"{built.cell.id} from nothing",
        script="scratch.sh",
        folders=(
            Folder("RECIPE", REPO / "tests/support/scratch"),
            Folder("SRC", subject.src),
            Folder("ASK", places["ask"]),
            Folder("KIT", built.base.path / "obj"),
            Folder("OBJ", places["obj"], writable=True),
            Folder("OUT", places["out"], writable=True),
        ),
        log=folder / "log",
        timeout_s=_TIMEOUT_S,
        env={
            **make_flags(final),
            **(built.cell.flavour.base_make if whole else {}),
            "JOBS": str(workspace.spec.jobs),
            "TARGETS": " ".join(
                workspace.kernel_of(built.cell).stages.targets(subject, built.configured, built.base)
            ),
            "WHOLE": "yes" if whole else "no",
        },
    )
    ended = workspace.runtime.run(job)
    if ended.status != 0:
        raise SystemExit(f"{job.name} failed: {ended.tail[-2000:]}")
    return {path.name: path for path in places["out"].iterdir()}, ended.duration_s


def compare_all(folder: Path, *, most: int = sys.maxsize, whole: bool = False) -> list[Compared]:
    """Build the cells of this project as any command does, and a sample of them from nothing."""
    call = Invocation(REPO, "", Screen(Mode.PLAIN))
    with call.cache() as cache:
        spec = resolve(RunOptions(out=str(folder / "run")), call)
        workspace = set_up(spec, cache, call.screen)
        with RunFolder(spec.out) as run_folder:
            cells, _ = building.build(workspace, run_folder)
        built = [one for one in cells if isinstance(one, BuiltCell)]
        found = []
        for number, one in enumerate(sample(built, most)):
            found.append(compare(workspace, one, folder / str(number), whole=whole))
            call.screen.print(str(found[-1]))
        return found


def table(found: Sequence[Compared]) -> Table:
    shown = Table("cell", "from nothing", "same bytes", "different", box=None, pad_edge=False)
    for one in found:
        shown.add_row(one.cell, f"{one.seconds:.1f} s", ", ".join(one.same), ", ".join(one.different) or "–")
    same = sum(not one.different for one in found)
    shown.caption = f"{len(found)} cells, {same} of them byte for byte the same as from nothing"
    return shown


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.scratch")
    parser.add_argument("--cells", type=int, default=sys.maxsize, metavar="N")
    parser.add_argument("--whole", action="store_true")
    asked = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="kmodpipe-scratch-") as made:
        found = compare_all(Path(made), most=asked.cells, whole=asked.whole)
    Console(width=None if sys.stdout.isatty() else 160).print(table(found))
    return 1 if not found or any(one.different for one in found) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
