"""``python -m tests.faults [NAME ...]``: run seeded faults and print what was reported, and of which case.

``--keep FOLDER`` leaves the run there, its console logs with it.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from tests import faults


def main(arguments: Sequence[str]) -> int:
    asked = argparse.ArgumentParser(prog="python -m tests.faults")
    asked.add_argument("names", nargs="*", metavar="NAME")
    asked.add_argument("--flavour", action="append")
    asked.add_argument("--keep", type=Path)
    asking = asked.parse_args(arguments)
    console = Console(width=None if sys.stdout.isatty() else 180)
    known = faults.load()
    if strange := set(asking.names) - {fault.name for fault in known}:
        console.print(f"no such fault: {', '.join(sorted(strange))}", markup=False)
        return 2
    chosen = [
        fault
        for fault in known
        if (not asking.names or fault.name in asking.names)
        and (not asking.flavour or fault.flavour in asking.flavour)
    ]
    with tempfile.TemporaryDirectory(prefix="kmodpipe-faults-") as folder:
        ran = faults.run_faults(chosen, asking.keep or Path(folder))
        if ran.code not in (0, 1):
            console.print(ran.said, markup=False)
            return ran.code
        console.print(faults.table(chosen, ran))
        found = [f"{fault}: {text}" for fault in chosen for text in faults.problems(fault, ran)]
    for text in found:
        console.print(text, markup=False)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
