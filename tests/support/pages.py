"""Pages of docs/ that a test runs: their files are written, their commands executed, their output compared.

In a page,

    ```c title="hello.c"       is a file, written where the commands run;
    ```sh                      is a block of commands, run by one bash from the first to the last;
    ```text                    behind it, with only blank lines between, is what they print on stdout.
                               Progress, on stderr, is in a page only where it says 2>&1.

A comment before a block, ``<!-- not run: REASON -->``, leaves it out; ``<!-- in: examples/hello -->``
has a page begin in a copy of that folder. In expected output a line ``…`` stands for any lines, and
``…`` within a line for any text. Numbers that differ from run to run or from day to day (times, versions of
kernels, digests, names of runs) are the same to the comparison: see `STEADY`.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from kmodpipe.cache.place import cache_folder
from tests.support import REPO

DOCS = REPO / "docs"
_FENCE = re.compile(r"^```([a-z]+)((?: [a-z]+=\"[^\"]*\")*)$")
_IN = re.compile(r"^<!-- in: (\S+) -->$", re.MULTILINE)
_NOT_RUN = re.compile(r"^<!-- not run: .+ -->$")
# What stands in a page for the folder that its commands ran in.
HOME = "/home/me"
_MARK = "\x1e"
# A machine under load makes guests slow, which is told.
_SLOWEST = re.compile(r"^slowest:\n(?: .*\n)+\n", re.MULTILINE)
# What is not compared, and what stands for it.
STEADY = (
    (re.compile(r"\b\d{4}-\d\d-\d\dT[\d:]+(?:[+-]\d\d:\d\d|Z)"), "TIME"),
    (re.compile(r"\b\d{8}-\d{6}-[0-9a-f]{4}\b"), "RUN"),
    (re.compile(r"\b[0-9a-f]{12,64}\b"), "DIGEST"),
    (re.compile(r"\b\d+\.\d+\.\d+(?:[-+~.]\w+)*"), "VERSION"),
    (re.compile(r"\b\d+(?:\.\d+)? (?:s|min|h|MiB|GiB)\b"), "AMOUNT"),
    (re.compile(r"│ \d+ *│$", re.MULTILINE), "│ N │"),  # seconds, the last column of a table
    (re.compile(r"[━─]+"), "─"),
)


@dataclass(frozen=True)
class Block:
    """A fenced block. ``first`` is the number of its first line in the page, from 0."""

    kind: str
    title: str
    text: str
    first: int
    run: bool = True


@dataclass(frozen=True)
class Step:
    """A block of commands, with the output that the page shows, None if it shows none."""

    commands: Block
    output: Block | None


def blocks(text: str) -> Iterator[Block]:
    """Yield the fenced blocks of a page."""
    lines, number, run = text.splitlines(), 0, True
    while number < len(lines):
        line = lines[number]
        number += 1
        if not (found := _FENCE.match(line)):
            if line.strip():
                run = not _NOT_RUN.match(line)
            continue
        end = lines.index("```", number)
        title = re.search(r'title="([^"]*)"', found[2])
        yield Block(found[1], title[1] if title else "", "\n".join(lines[number:end]), number, run)
        number, run = end + 1, True


def steps(text: str) -> list[Block | Step]:
    """Return what a page does, in order: files to be written, and commands with their output."""
    made: list[Block | Step] = []
    found, lines = list(blocks(text)), text.splitlines()
    for index, one in enumerate(found):
        if not one.run:
            continue
        if one.title:
            made.append(one)
        elif one.kind == "sh":
            after = found[index + 1] if index + 1 < len(found) else None
            end = one.first + len(one.text.splitlines()) + 1
            follows = after is not None and not any(line.strip() for line in lines[end : after.first - 1])
            shown = after if follows and after and after.kind == "text" and not after.title else None
            made.append(Step(one, shown))
    return made


def is_run(page: Path) -> bool:
    """Whether a page has commands that are run."""
    return any(isinstance(one, Step) for one in steps(page.read_text("utf-8")))


def script(text: str) -> str:
    """Return the bash script that a page is; a mark and the exit status stand behind each step's output."""
    parts = []
    for one in steps(text):
        if isinstance(one, Block):
            folder = Path(one.title).parent
            parts.append(f"mkdir -p {folder}\ncat > {one.title} <<'END_OF_FILE'\n{one.text}\nEND_OF_FILE\n")
            if one.text.startswith("#!"):
                parts.append(f"chmod +x {one.title}\n")
        else:
            parts.append(f"{one.commands.text}\nprintf '\\n{_MARK}%d{_MARK}\\n' $?; printf '{_MARK}' >&2\n")
    return "".join(parts)


@dataclass(frozen=True)
class Shown:
    """What a step printed on stdout, its last command's exit status, and how stderr ended."""

    step: Step
    text: str
    code: int
    rest: str


def run(page: Path, folder: Path, env: Mapping[str, str], timeout_s: float) -> list[Shown]:
    """Run a page in a folder, and return what each of its steps printed."""
    text = page.read_text("utf-8")
    if begins := _IN.search(text):
        shutil.copytree(
            REPO / begins[1], folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("out", ".git")
        )
    settings = folder.parent / f"{folder.name}.gitconfig"
    settings.write_text("[user]\n\tname = A Developer\n\temail = developer@example.org\n")
    env = {**env, "COLUMNS": "100", "GIT_CONFIG_GLOBAL": str(settings)}
    process = subprocess.Popen(
        ["bash", "-c", script(text)], cwd=folder, env=env, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    try:
        said, rest = (one.decode("utf-8", "replace") for one in process.communicate(timeout=timeout_s))
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGTERM)
        said, rest = (one.decode("utf-8", "replace") for one in process.communicate(timeout=60))
    said = (
        _SLOWEST.sub("", said)
        .replace(str(folder), HOME)
        .replace(str(cache_folder()), f"{HOME}/.cache/kmodpipe")
    )
    pieces, rests = said.split(_MARK), rest.split(_MARK)
    wanted = [one for one in steps(text) if isinstance(one, Step)]
    shown = [
        Shown(one, pieces[2 * n].strip("\n"), int(pieces[2 * n + 1]), rests[n])
        for n, one in enumerate(wanted)
        if 2 * n + 1 < len(pieces)
    ]
    assert len(shown) == len(wanted), f"{page.name} ended early:\n{said[-3000:]}\n{rest[-3000:]}"
    return shown


def steady(text: str) -> list[str]:
    """Return the lines of a text without what differs from run to run, and without space at their ends."""
    for pattern, word in STEADY:
        text = pattern.sub(word, text)
    return [re.sub(r" +", " ", line).rstrip() for line in text.splitlines()]


def difference(expected: str, text: str) -> str:
    """Return the first expected lines that a text does not have at their place, "" if it is as expected."""
    wanted, had = steady(expected), steady(text)
    place, gap = 0, False
    for index, line in enumerate(wanted):
        if line.strip() == "…":
            gap = True
            continue
        pattern = re.compile(".*".join(re.escape(part) for part in line.split("…")))
        found = next((n for n in range(place, len(had)) if pattern.fullmatch(had[n])), None)
        if found is None or (not gap and found != place):
            there = had[place] if place < len(had) else "the end"
            return f"line {index + 1}, expected:\n  {line}\nthere is:\n  {there}"
        place, gap = found + 1, False
    return "" if gap or place == len(had) else f"more is printed:\n  {had[place]}"


def problems(shown: list[Shown]) -> list[str]:
    """Return what is not as the page says, by the line of the page; so is a command that fails."""
    found = []
    for one in shown:
        where = f"line {one.step.commands.first + 1}: {one.step.commands.text}"
        if one.code:
            found.append(f"{where}\nexit status {one.code}:\n{one.text[-3000:]}\n{one.rest[-3000:]}")
        elif one.step.output and (said := difference(one.step.output.text, one.text)):
            found.append(f"{where}\n{said}\nall that it printed:\n{one.text[-3000:]}")
    return found


def rewritten(page: str, shown: list[Shown]) -> str:
    """Return a page with what was printed in place of each output that is another one."""
    lines = page.splitlines()
    for one in reversed(shown):
        if (block := one.step.output) and difference(block.text, one.text):
            end = block.first + len(block.text.splitlines()) if block.text else block.first
            lines[block.first : end] = [line.rstrip() for line in one.text.splitlines()]
    return "\n".join(lines) + "\n"
