"""``python -m tests.mutants [--whole] [NAME ...]``: run mutants and print which case caught which.

``--whole`` runs the whole suite on each, to see what else would have noticed; else the named cases alone.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from tests import mutants


def main(arguments: Sequence[str]) -> int:
    console = Console(width=None if sys.stdout.isatty() else 180)
    names = set(arguments) - {"--whole"}
    known = mutants.load()
    if strange := names - {mutant.name for mutant in known}:
        console.print(f"no such mutant: {', '.join(sorted(strange))}", markup=False)
        return 2
    chosen = [mutant for mutant in known if mutant.name in names or not names]
    with tempfile.TemporaryDirectory(prefix="kmodpipe-mutants-") as folder:
        ran = mutants.run_mutants(chosen, Path(folder), whole="--whole" in arguments)
        if ran.code not in (0, 1):
            console.print(ran.said, markup=False)
            return ran.code
        console.print(mutants.table(chosen, ran))
        found = [f"{mutant.name}: {text}" for mutant in chosen for text in mutants.problems(mutant, ran)]
    for text in found:
        console.print(text, markup=False)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
