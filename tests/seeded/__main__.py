"""``python -m tests.seeded [FOLDER]``: ask about the seeded series, and print what led to each defect."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from tests import seeded


def main(arguments: Sequence[str]) -> int:
    console = Console(width=240)
    with tempfile.TemporaryDirectory(prefix="kmodpipe-seeded-") as own:
        every = seeded.load()
        answers = seeded.ask(every, Path(arguments[0] if arguments else own))
        console.print(seeded.table(every, answers), markup=False)
        for name in answers.failed:
            console.print(f"not as expected: {name}", markup=False)
    return 1 if answers.failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
