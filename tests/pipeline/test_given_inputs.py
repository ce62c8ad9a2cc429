"""Inputs as people had them when they went wrong, a row each: what they were, and what is right.

The rows are those of the list that users gave us; the inputs are of our own making, in the same form. What
needs a guest's programs for real is in tests/integration/test_needs.py.
"""

from __future__ import annotations

import base64
import gzip
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support import toy
from tests.support.toy import World

STEPS = 11
MBOX = "From 0123456789012345678901234567890123456789 Mon Sep 17 00:00:00 2001\n"
NEW = "diff --git a/fs/toy/new.c b/fs/toy/new.c\nnew file mode 100644\n--- /dev/null\n+++ b/fs/toy/new.c\n"
NEW_FILE = f"{NEW}@@ -0,0 +1 @@\n+int made;\n"


@pytest.fixture
def world(tmp_path: Path) -> World:
    return toy.build(tmp_path)


def diff(step: int) -> str:
    """Counts ``step`` up by one: the steps apply in their order only."""
    was, now = (f"step {step}" if step else "end"), f"step {step + 1}"
    lines = toy.TOY_C.splitlines()
    at = len(lines)
    lines[-1] = was
    return (
        "diff --git a/fs/toy/toy.c b/fs/toy/toy.c\n--- a/fs/toy/toy.c\n+++ b/fs/toy/toy.c\n"
        f"@@ -{at - 1},2 +{at - 1},2 @@\n {lines[-2]}\n-{was}\n+{now}\n"
    )


def mail(subject: str, body: str, *headers: str) -> str:
    head = ["From: A Tester <tester@localhost.invalid>", f"Subject: {subject}", *headers]
    return "\n".join(head) + f"\n\n{body}"


def posted(number: int, count: int = 3) -> str:
    return mail(f"[PATCH {number}/{count}] toy: step {number}", f"Counts.\n---\n{diff(number - 1)}")


def without_prefix(text: str) -> str:
    return re.sub(r"\b[ab]/(?=fs/)", "", text)


def folder(root: Path, files: dict[str, str | bytes]) -> Path:
    made = root / "posted"
    made.mkdir()
    for name, content in files.items():
        (made / name).write_bytes(content.encode() if isinstance(content, str) else content)
    return made


def encoded(number: int) -> str:
    subject, body = f"[PATCH {number}/3] toy: step {number}", f"Counts.\n---\n{diff(number - 1)}"
    text = base64.encodebytes(body.encode()).decode()
    return mail(
        subject, text, "MIME-Version: 1.0", "Content-Transfer-Encoding: base64", "Content-Type: text/plain"
    )


def gzipped(root: Path) -> Path:
    path = root / "posted.mbox.gz"
    path.write_bytes(gzip.compress("".join(MBOX + posted(n) + "\n" for n in (1, 2, 3)).encode()))
    return path


def cover() -> str:
    return mail("[PATCH 0/3] toy: steps", "What it is for.\n\n 1 file changed\n")


WHOLE: dict[str, Callable[[Path], Path]] = {
    "unpadded numbers": lambda root: folder(
        root, {f"{n}-step.patch": posted(n, STEPS) for n in range(1, STEPS + 1)}
    ),
    "a cover letter in the folder": lambda root: folder(
        root, {"0000-cover-letter.patch": cover(), **{f"000{n}-x.patch": posted(n) for n in (1, 2, 3)}}
    ),
    "CR LF": lambda root: folder(
        root, {f"000{n}-x.patch": posted(n).replace("\n", "\r\n") for n in (1, 2, 3)}
    ),
    "base64": lambda root: folder(root, {f"000{n}-x.patch": encoded(n) for n in (1, 2, 3)}),
    "mbox.gz": gzipped,
    "diffs only": lambda root: folder(root, {f"{n}.diff": diff(n - 1) for n in (1, 2, 3)}),
}


@pytest.mark.parametrize("form", WHOLE)
def test_a_whole_series_is_applied_in_its_order(world: World, tmp_path: Path, form: str) -> None:
    ran = world.command(toy.commands.patch, series=[str(WHOLE[form](tmp_path))])
    assert ran.code == 0, ran.text
    applied = Path(ran.out.rpartition("path: ")[2].strip()) / "fs/toy/toy.c"
    last = STEPS if form.startswith("unpadded") else 3
    assert applied.read_text().endswith(f"step {last}\n")


def test_a_patch_that_is_missing_is_named(world: World, tmp_path: Path) -> None:
    path = tmp_path / "posted.mbox"
    path.write_text("".join(MBOX + posted(n) + "\n" for n in (1, 3)))
    ran = world.command(toy.commands.test, series=[str(path)])
    assert ran.code == 2 and "patch 2 of 3 is missing" in ran.text and world.made() == []


@pytest.mark.parametrize("text", [NEW_FILE, diff(0)], ids=["a new file", "a change"])
def test_a_diff_without_prefixes_goes_where_it_belongs(world: World, tmp_path: Path, text: str) -> None:
    path = tmp_path / "posted.diff"
    path.write_text(without_prefix(text))
    ran = world.command(toy.commands.patch, series=[str(path)])
    assert ran.code == 0, ran.text
    applied = Path(ran.out.rpartition("path: ")[2].strip())
    assert not (applied / "toy").exists()
    assert (applied / "fs/toy/new.c").is_file() == (text is NEW_FILE)


def test_a_patch_of_another_module_is_not_tested_as_this_one(world: World, tmp_path: Path) -> None:
    matrix = world.root / "kconfigs/matrix.toml"
    matrix.write_text(f'module = "fs/toy"\n{matrix.read_text()}')
    path = tmp_path / "posted.patch"
    path.write_text(mail("[PATCH] zram: x", NEW_FILE.replace("fs/toy/", "drivers/block/zram/")))
    ran = world.command(toy.commands.test, series=[str(path)])
    assert ran.code == 2 and "--module drivers/block/zram" in ran.text and world.made() == []


def test_a_module_folder_that_is_none_is_told_at_once(world: World) -> None:
    ran = world.command(toy.commands.build, series=["none"], module="fs/toyy")
    assert ran.code == 2 and "did you mean fs/toy" in ran.text and world.made() == []


def test_only_chosen_cases_are_held_against_the_matrix(world: World, tmp_path: Path) -> None:
    own = world.root / "kconfigs/own.toml"
    own.write_text('base = "tinyconfig"\nfragments = ["guest.config"]\n')
    case = world.root / "images/guest/cases/remount/case.toml"
    case.write_text(case.read_text().replace('when = { design = "toy-fix" }', 'when = { INDEX = "y" }'))
    script = tmp_path / "own.sh"
    script.write_text("#!/bin/sh\n# toy: observe-module\n")
    more = {"matrix": str(own), "module": "fs/toy", "series": ["none"]}
    ran = world.command(toy.commands.test, case=[str(script)], **more)
    assert "unknown axis" not in ran.text and ran.code == 0, ran.text
    ran = world.command(toy.commands.test, case=["remount"], **more)
    assert ran.code == 2 and "unknown axis 'INDEX'" in ran.text
