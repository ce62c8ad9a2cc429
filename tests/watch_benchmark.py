"""How long after a save verdicts are there: ``python -m tests.watch_benchmark [EDITS]``.

`invoke watch` runs three cases in the five cells of the default series. A line of super.c is edited, in what
the series adds to it, so often (3 by default), once with what the change concerns and once with everything
(--whole). Printed is what watch says of each round: from the save to the first verdict and to all of them,
and its steps. The machine has to have nothing else to do.
"""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from tests.support import REPO

SERIES, PATCH = "index-nouuid", "0003-ovl-add-the-index-nouuid-mount-option.patch"
EDITED = re.compile(r"falling back to index=on[^\\]*")
CASES = ("uuid-remount-index-on", "uuid-remount-index-nouuid", "uuid-remount-default")


def edit(patch: Path) -> None:
    """Save another text of a message, as an editor does: one that no run had before."""
    part = patch.with_name(f"{patch.name}~")
    text = f"falling back to index=on ({time.time_ns()})"
    part.write_text(EDITED.sub(text, patch.read_text(), count=1))
    part.replace(patch)


def measure(edits: int, *options: str) -> list[str]:
    """Return what watch says of the rounds after so many edits."""
    with tempfile.TemporaryDirectory() as work:
        series = Path(work) / SERIES
        shutil.copytree(REPO / "patches" / SERIES, series)
        argv = ["--series", str(series), *(word for case in CASES for word in ("--case", case)), *options]
        child = subprocess.Popen(
            [sys.executable, "-m", "invoke", "watch", *argv, "--out", f"{work}/out"],
            cwd=REPO, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert child.stderr
        said: list[str] = []
        for line in child.stderr:
            if re.match(r"round \d+ ended", line):
                said.append(line.strip())
                if len(said) > edits:
                    break
                edit(series / PATCH)
        child.send_signal(signal.SIGTERM)
        child.communicate(timeout=300)
        return said


def main(argv: Sequence[str]) -> None:
    edits = int(argv[0]) if argv else 3
    console = Console(highlight=False, soft_wrap=True)
    for name, options in (("what the change concerns", ()), ("everything", ("--whole",))):
        console.print(f"{name}: {', '.join(CASES)}")
        for line in measure(edits, *options):
            console.print(f"  {line}")


if __name__ == "__main__":
    main(sys.argv[1:])
