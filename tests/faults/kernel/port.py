"""The seeded faults on another kernel: each patch moved to where the same code is there.

A hunk goes where patch(1) finds its context, however far. Where a function's head is another one there, lines
that stood before it go before it, and headers before the module's own.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tests.faults.kernel import Fault

_FUZZ = 3
_HUNK = re.compile(r"^@@ .*(?:\n(?!@@|diff |-- ).*)*", re.MULTILINE)
_FILE = re.compile(r"^\+\+\+ b/(\S+)", re.MULTILINE)


def port(fault: Fault, tree: Path, folder: Path) -> Fault | None:
    """The fault as a series of its own for the kernel in ``tree``, below ``folder``; None where its code has
    no equal there."""
    text = fault.patch.read_text()
    found = _FILE.search(text)
    assert found, fault.patch
    name = found[1]
    work = folder / "work" / fault.name
    for side in ("a", "b"):
        (work / side / name).parent.mkdir(parents=True, exist_ok=True)
        (work / side / name).write_bytes((tree / name).read_bytes())
    for hunk in _HUNK.findall(text):
        if not (_patched(work / "b", name, hunk) or _placed(work / "b" / name, hunk)):
            return None
    made = subprocess.run(
        ["git", "diff", "--no-index", "--no-color", f"a/{name}", f"b/{name}"],
        cwd=work, capture_output=True, text=True, check=False,
    )  # fmt: skip
    series = folder / "series" / fault.name
    series.mkdir(parents=True, exist_ok=True)
    head = f"From: A Tester <tester@example.org>\nSubject: [PATCH] {fault.name}\n\n{fault.fault}\n---\n"
    (series / f"{fault.name}.patch").write_text(head + made.stdout)
    (series / "series").write_text(f"{fault.name}.patch\n")
    return fault.model_copy(update={"folder": series, "series": ""})


def ported(faults: Sequence[Fault], tree: Path, folder: Path) -> tuple[list[Fault], list[Fault]]:
    """The faults for another kernel, and those that have no place in it."""
    made = [(fault, port(fault, tree, folder)) for fault in faults]
    return [new for _, new in made if new], [old for old, new in made if new is None]


def _patched(root: Path, name: str, hunk: str) -> bool:
    patch = f"--- a/{name}\n+++ b/{name}\n{hunk}\n"
    argv = ["patch", "-p1", f"-F{_FUZZ}", "--quiet", "--no-backup-if-mismatch", "--reject-file=-"]
    done = subprocess.run(argv, cwd=root, input=patch, capture_output=True, text=True, check=False)
    return done.returncode == 0


def _placed(path: Path, hunk: str) -> bool:
    """Put the lines that a hunk adds before the line of the file that stands for the one behind them."""
    lines = hunk.splitlines()[1:]
    last = max(n for n, line in enumerate(lines) if line.startswith("+"))
    added = "".join(f"{line[1:]}\n" for line in lines if line.startswith("+"))
    behind = next((line[1:] for line in lines[last + 1 :] if line.strip()), "")
    function = re.match(r"(?:static )?int (\w+)\(", behind)
    if added.lstrip().startswith("#include"):
        pattern = r'^#include "overlayfs\.h"'
    elif function:
        pattern = rf"^(?:static )?int {function[1]}\((?![^)]*\);)"
    else:
        return False
    text = path.read_text()
    place = re.search(pattern, text, re.MULTILINE)
    if place is None:
        return False
    path.write_text(f"{text[: place.start()]}{added}{text[place.start() :]}")
    return True
