"""What the agent finds changed in a folder, compiled here and let loose on one of this machine."""

from __future__ import annotations

import mmap
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.agent import compile_with

# Surveys the folder, waits for a line, and prints what differs; then accepts it, and looks once more.
PROGRAM = r"""
#define _GNU_SOURCE
#include "survey.h"
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
static const char *const unlisted[] = { "grows", NULL };
static const char *const unread[] = { "volatile*", NULL };
static struct tree tree = { .path = "/", .bit = CHANGED_FILES, .numbers = true, .times = true, .owners = true,
    .content = MAPPED, .unlisted = unlisted, .unread = unread };
int own_open(const char *path, int flags) { return open(path, flags); }
_Noreturn void fatal(const char *what, const char *detail) { printf("%s: %s\n", what, detail); exit(1); }
int main(int argc, char **argv)
{
    char names[512], line[16];
    if (strstr(argv[2], "knobs"))
        tree = (struct tree){ .path = "/sys", .bit = CHANGED_KERNEL, .numbers = true, .opened = true,
            .unread = unread };
    hash_seed();
    survey_tree(&tree, open(argv[1], O_RDONLY | O_DIRECTORY));
    puts("ready"), fflush(stdout);
    fgets(line, sizeof(line), stdin);
    survey_look(names, sizeof(names));
    puts(names), fflush(stdout);
    survey_accept();
    survey_look(names, sizeof(names));
    puts(names);
    return argc < 0;
}
"""


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compile_with(tmp_path_factory.mktemp("survey"), PROGRAM, "survey.c", "item.c", "hash.c")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    for name in ("bin", "etc/deep", "grows"):
        (root / name).mkdir(parents=True)
    (root / "bin/program").write_bytes(b"\x7fELF" + bytes(range(256)) * 100)
    (root / "bin/link").symlink_to("program")
    (root / "etc/file").write_text("1\n")
    (root / "etc/deep/empty").write_text("")
    for name in ("volatile-file", "etc/deep/volatile-file"):
        (root / name).write_text("1\n")
    return root


def looks(program: Path, root: Path, change: Callable[[], object], how: str = "files") -> list[str]:
    """The names of what differs after ``change``, before and after that was accepted."""
    child = subprocess.Popen([program, root, how], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert child.stdout and child.stdout.readline() == "ready\n"
    change()
    out, _ = child.communicate("go\n", timeout=20)
    assert child.returncode == 0
    return out.split("\n")[:2]


def scribble(path: Path, at: int, data: bytes) -> None:
    """Write through a mapping, and put the times back that root can set."""
    before = path.stat()
    with path.open("r+b") as f, mmap.mmap(f.fileno(), 0) as memory:
        memory[at : at + len(data)] = data
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def replace(path: Path) -> None:
    other = path.with_name("other")
    other.write_bytes(path.read_bytes())
    other.rename(path)


def test_nothing_changed_is_nothing_to_tell(program: Path, root: Path) -> None:
    assert looks(program, root, lambda: None) == ["", ""]
    assert looks(program, root, lambda: (root / "bin/program").read_bytes()) == ["", ""]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda r: (r / "etc/more").write_text(""), "/etc/more"),
        (lambda r: (r / "etc/file").unlink(), "/etc/file"),
        (lambda r: (r / "etc/file").write_text("2\n"), "/etc/file"),
        (lambda r: (r / "etc/file").chmod(0o600), "/etc/file"),
        (lambda r: replace(r / "etc/file"), "/etc/file"),
        (lambda r: (r / "etc/deep/empty").write_text("x"), "/etc/deep/empty"),
        (lambda r: (r / "etc/deep/folder").mkdir(), "/etc/deep/folder"),
        (lambda r: ((r / "bin/link").unlink(), (r / "bin/link").symlink_to("others")), "/bin/link"),
        (lambda r: (r / "bin/program").write_bytes(b""), "/bin/program"),
    ],
)
def test_each_change_is_named_and_never_accepted(
    program: Path, root: Path, change: Callable[[Path], object], named: str
) -> None:
    first, second = looks(program, root, lambda: change(root))
    assert named in first.split("; ") and named in second.split("; ")


@pytest.mark.parametrize("at", [0, 1, 4096, 25_598, 25_603])
def test_what_is_written_through_a_mapping_is_seen_by_its_content_alone(
    program: Path, root: Path, at: int
) -> None:
    # The last bit of a word, twice in a row: what simple sums and FNV do not tell from nothing.
    before = (root / "bin/program").read_bytes()
    changed = bytes(b ^ 0x80 for b in before[at : at + 1])
    first, _ = looks(program, root, lambda: scribble(root / "bin/program", at, changed))
    assert "/bin/program" in first.split("; ")


def test_two_flips_do_not_cancel_each_other(program: Path, root: Path) -> None:
    data = (root / "bin/program").read_bytes()
    flipped = bytes(b ^ 0x80 if i % 8 == 7 else b for i, b in enumerate(data[:64]))
    first, _ = looks(program, root, lambda: scribble(root / "bin/program", 0, flipped))
    assert "/bin/program" in first.split("; ")


def test_what_is_left_out_is_left_out(program: Path, root: Path) -> None:
    def change() -> None:
        (root / "grows/file").write_text("")
        scribble(root / "volatile-file", 0, b"2")

    first, _ = looks(program, root, change)
    assert "/grows/file" not in first
    # That it was written to is seen, not what.
    (root / "volatile-file").write_text("1\n")
    assert looks(program, root, lambda: scribble(root / "volatile-file", 0, b"1"))[0] in (
        "",
        "/volatile-file",
    )


def test_more_than_three_are_counted(program: Path, root: Path) -> None:
    for n in range(5):
        (root / f"folder{n}").mkdir()
    first, _ = looks(program, root, lambda: [(root / f"folder{n}/new").mkdir() for n in range(5)])
    assert first.endswith(" more")


def test_of_knobs_what_can_be_set_counts_and_a_number_alone_is_accepted(
    program: Path, tmp_path: Path
) -> None:
    root = tmp_path / "knobs"
    (root / "module").mkdir(parents=True)
    knob, report = root / "module/knob", root / "module/report"
    knob.write_text("Y\n")
    report.write_text("0\n")
    report.chmod(0o444)
    assert looks(program, root, lambda: os.write(os.open(report, os.O_WRONLY), b"1"), "knobs") == ["", ""]
    assert looks(program, root, lambda: knob.write_text("N\n"), "knobs") == ["/sys/module/knob"] * 2
    # Taken out and put in again.
    knob.write_text("Y\n")
    first, second = looks(program, root, lambda: replace(knob), "knobs")
    assert "/sys/module/knob" in first and second == ""


def test_one_keyed_hash_differs_from_boot_to_boot(tmp_path: Path) -> None:
    printed = r"""
#include "survey.h"
int main(void)
{
    hash_seed();
    printf("%llx\n", (unsigned long long)hash_bytes(0, "words", 5));
    return 0;
}
"""
    made = compile_with(tmp_path, printed, "hash.c")
    assert len({subprocess.run([made], capture_output=True, check=True).stdout for _ in range(3)}) == 3
