"""``python -m tests.wrong_inputs``: print each wrong input, its exit code, and what was said of it."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from tests.wrong_inputs import ROWS, problems, run


def main() -> int:
    table = Table(box=None, pad_edge=False)
    for heading in ("", "kind", "kmodpipe …", "exit", "said"):
        table.add_column(heading, overflow="fold")
    bad = 0
    for row in ROWS:
        with tempfile.TemporaryDirectory() as folder:
            ended = run(row, Path(folder))
            found = problems(row, ended)
            bad += bool(found)
            # What goes on, such as a step, is left out: the error is the last thing said.
            text = ended.err[ended.err.rfind("error: ") :].rstrip().replace(folder, "…")
        wrong = "".join(f"\n{name}: {value}" for name, value in found.items())
        table.add_row("✗" if found else "✓", row.kind, Text(row.words), str(ended.code), Text(text + wrong))
    Console(width=160).print(table)
    Console().print(f"{len(ROWS)} wrong inputs, {bad} not answered as they should be")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
