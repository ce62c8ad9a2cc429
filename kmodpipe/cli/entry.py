"""Where `kmodpipe` and `python -m kmodpipe` begin. A shell's question for completion is answered first.

Almost nothing is imported here: a completion that takes a second is none.
"""

from __future__ import annotations

import gc
import sys

NAME = "kmodpipe"
# Allocations between two looks for garbage; with 700, Python's own, a short command spends a tenth on them.
_GARBAGE = 50_000


def main() -> None:
    """Run the command line of this process, for the project in or above the current folder."""
    gc.set_threshold(_GARBAGE, 20, 20)
    if sys.argv[1:2] == ["--complete"]:
        from kmodpipe.cli import completion

        completion.answer(sys.argv[2:])
    else:
        from kmodpipe.cli import program

        program.Program.of(NAME).run()
