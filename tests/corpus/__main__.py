"""Print how the reports of our own are read, by kernel version and architecture: ``python -m tests.corpus``.

Every sample of `tests.unit.logs.corpus` in every form of every kernel. A cell of the table is the number of
logs in which exactly the report was found, with the right title and function, of all that there are. Clean
logs of real kernels follow, and those that are named, in which nothing may be found. ``--failures`` lists
what was read otherwise.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from kmodpipe.logs.kernel_log import parse, parse_file
from tests.support import CORPUS
from tests.unit.logs.corpus.forms import ARCHS, STYLES, VERSIONS, log
from tests.unit.logs.corpus.kinds import SAMPLES


def main(argv: Sequence[str]) -> int:
    """Print the tables; return 1 if a log was not read as it is."""
    console = Console(width=150)
    table = Table("kind", "title", *VERSIONS, *ARCHS, box=None)
    failures = []
    for sample in SAMPLES:
        counts: dict[str, list[int]] = defaultdict(lambda: [0, 0])
        for kernel in sample.kernels():
            for style in STYLES:
                found = parse(log(sample.lines(kernel), style))
                right = sample.is_read(found)
                for key in (kernel.version, kernel.arch):
                    counts[key][0] += right
                    counts[key][1] += 1
                if not right:
                    failures.append(f"{sample.name} {kernel} {style}: {[r.title for r in found]}")
        columns = [counts[key] for key in (*VERSIONS, *ARCHS)]
        table.add_row(sample.name, sample.expected, *(f"{ok}/{n}" if n else "–" for ok, n in columns))
    console.print(table)
    clean = sorted((CORPUS / "console").glob("clean-*.log")) + [
        Path(name) for name in argv if name[:1] != "-"
    ]
    for path in clean:
        found = [r.title for r in parse_file(path) if not r.watch]
        console.print(f"{path.name}: {found or 'nothing'}", highlight=False)
        failures += [f"{path}: {title}" for title in found]
    console.print(f"{len(failures)} logs were read otherwise")
    if "--failures" in argv:
        console.print("\n".join(failures), highlight=False)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
