"""Defects seeded into a shipped series that its cases pass with, and what leads to each of them.

    seeded.toml     what each is, and what led to it

`invoke cover`, `invoke ablate` and `invoke cover --inject` are asked about a copy of the series that has all
of them. ``python -m tests.seeded`` prints the table of docs/ablation.md.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from tests.support import REPO
from tests.support.trees import commit_all, declared, git

HERE = Path(__file__).resolve().parent
TREE = "debian-5.10"
SHIPPED = REPO / "patches/uuid-off"
# The patch in whose hunks the defects are.
PATCH = 2
MODULE = "fs/overlayfs"
CELL = "seeded.INDEX=y.NOUUID=n"
# Each allocation of it fails once. The shipped cases that come as far have more than 400 each.
INJECTED = HERE / "inject.sh"
MISTAKES = ("condition", "error", "constant", "call")
TOOLS = ("cover", "ablate", "inject")


class Seeded(BaseModel):
    """One defect; the fields are explained in seeded.toml."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    defect: str
    path: str
    old: str
    new: str
    report: str = ""
    leads: tuple[str, ...]

    @property
    def file(self) -> str:
        return f"{MODULE}/{self.path}"

    def put_into(self, tree: Path) -> None:
        """Make the defect in a tree."""
        path = tree / self.file
        text = path.read_text()
        assert text.count(self.old) == 1, self.name
        path.write_text(text.replace(self.old, self.new))

    def lines(self, tree: Path) -> frozenset[int]:
        """The numbers of its own lines in a tree that has it."""
        before, sought, _ = (tree / self.file).read_text().partition(self.new)
        assert sought, self.name
        first = before.count("\n") + 1
        rows = SequenceMatcher(None, self.old.split("\n"), self.new.split("\n"), autojunk=False).get_opcodes()
        return frozenset(first + n for tag, _, _, b, e in rows if tag != "equal" for n in range(b, e))


def load() -> tuple[Seeded, ...]:
    table = tomllib.loads((HERE / "seeded.toml").read_text())
    return tuple(Seeded.model_validate(one) for one in table["seeded"])


def make_series(every: Sequence[Seeded], folder: Path) -> tuple[Path, Path]:
    """Return the series with all defects, and a tree that has it, of the module alone."""
    repo, made, tree = folder / "tree", folder / "seeded", declared(TREE).path
    for name in (MODULE, "Documentation/filesystems"):
        shutil.copytree(tree / name, repo / name, symlinks=True)
    commit_all(repo, "the module")
    patches = sorted(SHIPPED.glob("*.patch"))
    for number, patch in enumerate(patches, 1):
        git(repo, "apply", str(patch))
        for one in every if number == PATCH else ():
            one.put_into(repo)
        commit_all(repo, f"ovl: step {number}")
    git(repo, "format-patch", "-q", "-o", str(made), f"HEAD~{len(patches)}")
    (made / "series").write_text("".join(f"{path.name}\n" for path in sorted(made.glob("*.patch"))))
    shutil.copyfile(SHIPPED / "series.toml", made / "series.toml")
    return made, repo


@dataclass(frozen=True)
class Answers:
    """What the three commands answered."""

    tree: Path
    covered: Mapping[str, Any]
    ablated: Mapping[str, Any]
    injected: Mapping[str, Any]
    # Cases that did not come to what is expected, though nothing failed on purpose.
    failed: tuple[str, ...]

    def of(self, one: Seeded) -> Mapping[str, str]:
        """Return how each command leads to a defect, in words; nothing where it does not."""
        return {"cover": self._cover(one), "ablate": self._ablate(one), "inject": self._inject(one)}

    def _cover(self, one: Seeded) -> str:
        states = self._states(one, self.covered)
        if "never" in states:
            return "✗: no case executes it"
        return "a branch that no case takes" if "half" in states else ""

    def _ablate(self, one: Seeded) -> str:
        own = one.lines(self.tree)
        found = [
            f"`{row['was']}` → `{row['becomes']}`"
            for row in self.ablated["findings"]
            if row["status"] == "unnoticed" and row["file"] == one.file and row["line"] in own
        ]
        return f"no case notices {found[0]}" if found else ""

    def _inject(self, one: Seeded) -> str:
        said = [text for text in self.injected["notices"] if one.report and re.search(one.report, text)]
        return said[0].partition(": ")[2].partition(": allocation")[0] if said else ""

    def reached(self, one: Seeded) -> bool:
        """Whether a failing allocation executes lines of it that no case does otherwise."""
        return "never" in self._states(one, self.covered) and not (
            {"never", "unknown"} & self._states(one, self.injected)
        )

    def _states(self, one: Seeded, answer: Mapping[str, Any]) -> set[str]:
        own = one.lines(self.tree)
        return {
            "half" if line["state"] == "executed" and line["ways_taken"] < line["ways"] else line["state"]
            for hunk in answer["hunks"]
            if hunk["path"] == one.file
            for line in hunk["lines"]
            if line["line"] in own
        }


def ask(every: Sequence[Seeded], folder: Path) -> Answers:
    """Run the three commands, in one cell."""
    series, tree = make_series(every, folder)
    kinds = [word for kind in MISTAKES for word in ("--kind", kind)]
    plain = _invoke("cover", series, folder / "out", "--cell", f"{CELL}.gcov")
    # With the coverage that it finds there.
    _invoke("ablate", series, folder / "out", "--cell", CELL, "--only", str(PATCH), *kinds)
    inject = ("--cell", f"{CELL}.gcov-inject", "--case", str(INJECTED), "--inject")
    injected = _invoke("cover", series, folder / "inject", *inject)
    results = json.loads((plain / "results.json").read_text())
    return Answers(
        tree,
        json.loads((plain / "cover.json").read_text()),
        json.loads(next((folder / "out").glob("2*/ablate.json")).read_text()),
        json.loads((injected / "cover.json").read_text()),
        tuple(
            one["case"] for cell in results["cells"] for one in cell["cases"]
            if one["verdict"] not in ("pass", "skip")
        ),
    )  # fmt: skip


def _invoke(command: str, series: Path, out: Path, *argv: str) -> Path:
    """Run a command, and return the folder of its run."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "invoke", command, "--tree", TREE),
            *("--series", str(series), "--out", str(out), *argv),
        ],
        cwd=REPO, env={**os.environ, "COLUMNS": "200"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    said = done.stdout + done.stderr
    assert done.returncode in (0, 1), said
    (out.parent / f"{command}-{out.name}.txt").write_text(said)
    return (out / "latest").resolve()


def table(every: Sequence[Seeded], answers: Answers) -> str:
    """Return what led to each defect, as Markdown."""
    rows = ["| the defect | cover | ablate | cover --inject |", "|---|---|---|---|"]
    for one in every:
        found = answers.of(one)
        inject = found["inject"] or ("executed, and nothing is reported" if answers.reached(one) else "")
        cells = (found["cover"], found["ablate"], inject)
        rows.append(f"| {one.defect} | " + " | ".join(cell or "–" for cell in cells) + " |")
    counts = [sum(bool(answers.of(one)[tool]) for one in every) for tool in TOOLS]
    rows.append("| led to | " + " | ".join(f"{n} of {len(every)}" for n in counts) + " |")
    return "\n".join(rows)
