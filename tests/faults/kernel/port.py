"""The seeded faults on another kernel: what each patch adds, put where the same code is there.

A block of added lines goes behind the two lines that stand before it, or before the two behind it, where they
are there once. Else before the function that follows it, and headers before the module's own.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.faults.kernel import Fault

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
        for block in _blocks(hunk.splitlines()[1:]):
            if not block.put_into(work / "b" / name):
                return None
    made = subprocess.run(
        ["git", "diff", "--no-index", "--no-color", "--no-prefix", f"a/{name}", f"b/{name}"],
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


@dataclass(frozen=True)
class _Block:
    """Lines that a patch adds, and the lines of code around them."""

    before: tuple[str, ...]
    added: str
    behind: tuple[str, ...]

    def put_into(self, path: Path) -> bool:
        """Add the lines to a file; return whether there was a place for them."""
        text = path.read_text()
        at = self._place(text)
        if at is not None:
            path.write_text(f"{text[:at]}{self.added}{text[at:]}")
        return at is not None

    def _place(self, text: str) -> int | None:
        for number in (2, 1):
            if found := _once(self.before[-number:], text):
                return found.end()
            if found := _once(self.behind[:number], text):
                return found.start()
        if self.added.lstrip().startswith("#include"):
            found = re.search(r'^#include "overlayfs\.h"', text, re.MULTILINE)
        else:
            head = re.match(r"(?:static )?int (\w+)\(", self.behind[0] if self.behind else "")
            found = head and re.search(rf"^(?:static )?int {head[1]}\((?![^)]*\);)", text, re.MULTILINE)
        return found.start() if found else None


def _once(lines: Sequence[str], text: str) -> re.Match[str] | None:
    """Where these lines stand in a text, empty ones between them or not; None where not exactly once."""
    pattern = "".join(rf"^{re.escape(line)}\n\n*" for line in lines).removesuffix("\n*")
    found = list(re.finditer(pattern, text, re.MULTILINE)) if lines else []
    return found[0] if len(found) == 1 else None


def _blocks(lines: Sequence[str]) -> Iterator[_Block]:
    at = 0
    while at < len(lines):
        end = at
        while end < len(lines) and lines[end].startswith("+"):
            end += 1
        if end > at:
            context = [
                [x[1:] for x in part if x[:1] == " " and x.strip()] for part in (lines[:at], lines[end:])
            ]
            added = "".join(f"{line[1:]}\n" for line in lines[at:end])
            yield _Block(tuple(context[0]), added, tuple(context[1]))
        at = end + 1
