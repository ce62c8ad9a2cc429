"""What the agent sends of a kernel's counters, read by the host's side; and who opened them meanwhile."""

from __future__ import annotations

import os
import random
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from kmodpipe.logs.counters import Taken, taken
from kmodpipe.vm.protocol import Record
from tests.support.agent import compile_with
from tests.support.trees import write

# Takes the counters of a folder, runs the command of each further argument, and takes them again.
PROGRAM = r"""
#define _GNU_SOURCE
#include "agent.h"
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
bool leaks_wanted(void) { return false; }
void rec_begin(const char *type) { fputs(type, stdout); }
void rec_bytes(const char *key, const void *data, size_t size)
{
    printf(" %s=%.*s", key, (int)size, (const char *)data);
}
void rec_text(const char *key, const char *value) { rec_bytes(key, value, strlen(value)); }
void rec_number(const char *key, int64_t value) { printf(" %s=%lld", key, (long long)value); }
void rec_end(void) { putchar('\n'); }
int main(int argc, char **argv)
{
    counters_open(open(argv[1], O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    counters_take(NULL);
    for (int i = 2; i < argc; i++) {
        char index[16];

        if (system(argv[i]))
            return 2;
        snprintf(index, sizeof(index), "%d", i - 2);
        counters_take(index);
    }
    return 0;
}
"""
SUPER, INODE = "obj/fs/toy/super.gcda", "obj/fs/toy/inode.gcda"


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compile_with(tmp_path_factory.mktemp("counters"), PROGRAM, "counters.c")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What stands for the kernel's folder; nothing there clears a counter, but who opens it is seen."""
    made = write(tmp_path / "gcov", {"reset": "", SUPER: "super", INODE: ""})
    (made / "obj/fs/toy/super.gcno").symlink_to("/obj/fs/toy/super.gcno")
    return made


def records(program: Path, folder: Path, *commands: str) -> list[Record]:
    argv = [program, folder, *(f"cd '{folder}' 2> /dev/null; {one}" for one in commands)]
    done = subprocess.run(argv, capture_output=True, check=True, timeout=60)
    found = []
    for number, line in enumerate(done.stdout.decode().splitlines()):
        words, _, lost = line.partition(" lost=")
        kind, *pairs = words.split(" ")
        fields = {key: value for key, _, value in (pair.partition("=") for pair in pairs)}
        found.append(Record(number, kind, fields | ({"lost": lost} if lost else {})))
    return found


def take(program: Path, folder: Path, *commands: str) -> Mapping[int | None, Taken]:
    return taken(records(program, folder, *commands))


def test_all_counters_come_after_every_case(program: Path, folder: Path) -> None:
    more = "printf more >> obj/fs/toy/late.gcda.part; mv obj/fs/toy/late.gcda.part obj/fs/toy/late.gcda"
    found = take(program, folder, "true", more)
    first = {SUPER: b"super", INODE: b""}
    assert found[None] == Taken(first) and found[0] == Taken(first)
    # It was made by a case: the file of a case's own is opened by it.
    assert found[1].files == {**first, "obj/fs/toy/late.gcda": b"more"}
    assert (folder / "reset").read_bytes() == b"0", "cleared, after each time anew"


@pytest.mark.parametrize(
    "command",
    ["echo 1 > reset", ": >> reset", f"echo 0 >> {SUPER}", f"cat {INODE}", f": >> $PWD/{INODE}"],
)
def test_whoever_opens_them_is_seen_and_charged_alone(program: Path, folder: Path, command: str) -> None:
    found = take(program, folder, "true", command, "true")
    assert [found[n].lost for n in (None, 0, 2)] == ["", "", ""]
    assert "opened" in found[1].lost


def test_listing_the_folder_is_no_harm(program: Path, folder: Path) -> None:
    assert take(program, folder, "find . | wc -l > /dev/null; ls -lR . > /dev/null")[0].lost == ""


def test_without_the_folder_nothing_is_claimed(program: Path, tmp_path: Path) -> None:
    found = take(program, tmp_path / "none", ":")
    assert found[None].lost == found[0].lost == "the kernel has no gcov in debugfs"


def test_counters_that_cannot_be_cleared_are_no_cases_own(program: Path, folder: Path) -> None:
    (folder / "reset").unlink()
    found = take(program, folder, "true")
    assert found[None].lost == "" and "cleared" in found[0].lost


@pytest.mark.parametrize("seed", range(6))
def test_any_content_arrives(program: Path, folder: Path, seed: int) -> None:
    dice = random.Random(seed)
    data = b"".join(
        bytes(dice.randrange(700)) if dice.random() < 0.7 else dice.randbytes(dice.randrange(300))
        for _ in range(dice.randrange(1, 400))
    )
    (folder / SUPER).write_bytes(data)
    assert take(program, folder)[None].files[SUPER] == data


def test_too_much_is_said(program: Path, folder: Path) -> None:
    (folder / SUPER).write_bytes(os.urandom(5 * 1024**2))
    found = take(program, folder)[None]
    assert found.lost == "there is more than is sent" and found.files == {INODE: b""}
    (folder / SUPER).write_bytes(bytes(9 * 1024**2))
    assert take(program, folder)[None].lost == "a counter file cannot be read"


def test_a_record_that_is_missing_loses_the_case(program: Path, folder: Path) -> None:
    (folder / SUPER).write_bytes(os.urandom(40_000))
    whole = records(program, folder, "true")
    for gone in whole:
        found = taken([one for one in whole if one is not gone])
        index = int(gone.fields["case"]) if "case" in gone.fields else None
        other = 0 if index is None else None
        assert found[index].lost and not found[other].lost


@pytest.mark.parametrize(
    "fields",
    [
        {"file": "../x.gcda"},
        {"file": "/etc/x.gcda"},
        {"file": "obj/x.txt"},
        {"size": "9000000"},
        {"size": "x"},
        {"part": "1"},
        {"data": "AP8A/wD/"},
        {"data": "AA"},
        {"data": "%%%"},
    ],
)
def test_a_record_that_is_wrong_loses_the_case(fields: dict[str, str]) -> None:
    good = {"case": "3", "file": "a/b.gcda", "size": "2", "part": "0", "data": "AAI"}
    end = Record(1, "counted", {"case": "3", "files": "1", "opened": "0"})
    assert taken([Record(0, "count", good), end])[3] == Taken({"a/b.gcda": b"\0\0"})
    assert taken([Record(0, "count", good | fields), end])[3].lost
