"""The agent finds the disk with the tools by its serial number, and sees what was done to it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.support.agent import compile_with

# Mounts the disk "kmodpipe-tools" of the /sys and the folder that it is given; waits for a line, and says
# whether the disk is what it was, and which device it is.
PROGRAM = r"""
#define _GNU_SOURCE
#include "survey.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>
static const char *sys;
static int mount_error;
DIR *own_list(const char *path)
{
    char real[4096];
    snprintf(real, sizeof(real), "%s%s", sys, path + strlen("/sys"));
    return opendir(real);
}
long read_file(const char *path, char *buffer, size_t size)
{
    char real[4096];
    int fd;
    ssize_t n;
    snprintf(real, sizeof(real), "%s%s", sys, path + strlen("/sys"));
    fd = open(real, O_RDONLY);
    if (fd < 0)
        return -1;
    n = read(fd, buffer, size - 1);
    close(fd);
    buffer[n < 0 ? 0 : n] = 0;
    return n;
}
const char *error_name(int error) { return strerrorname_np(error); }
void rec_begin(const char *type) { printf("%s", type); }
void rec_text(const char *key, const char *value) { printf(" %s=%s", key, value); }
void rec_end(void) { printf("\n"); }
int mount(const char *source, const char *target, const char *type, unsigned long flags, const void *data)
{
    printf("mount %s %s %s%s\n", source, strrchr(target, '/'), type, flags & MS_RDONLY ? " ro" : "");
    if (!mount_error)
        return 0;
    errno = mount_error;
    return -1;
}
int main(int argc, char **argv)
{
    struct disk disk = { argc > 4 ? NULL : "kmodpipe-tools", argv[2], "ext4" };
    char line[16];
    uint64_t before;
    sys = argv[1];
    mount_error = strcmp(argv[3], "EINVAL") ? 0 : EINVAL;
    hash_seed();
    printf("%s\n", disk_mount(&disk) ? "mounted" : "not mounted");
    before = disk_state();
    fflush(stdout);
    fgets(line, sizeof(line), stdin);
    printf("%s; ", disk_state() == before ? "as it was" : "changed");
    printf("vdb %d, vda %d\n", disk_is("vdb"), disk_is("vda"));
    return 0;
}
"""


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compile_with(tmp_path_factory.mktemp("disk"), PROGRAM, "disk.c", "hash.c")


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """Its /sys with two virtio disks, and what is mounted."""
    for name, serial in {"vda": "disk1", "vdb": "kmodpipe-tools", "loop0": ""}.items():
        (tmp_path / "sys/block" / name).mkdir(parents=True)
        if serial:
            (tmp_path / "sys/block" / name / "serial").write_text(serial)
            (tmp_path / "sys/block" / name / "stat").write_text("  9 0 8 0  0 0 0 0\n")
    (tmp_path / "disk").mkdir()
    (tmp_path / "disk/.kmodpipe").write_text("tools\n")
    return tmp_path


def start(program: Path, machine: Path, *argv: str) -> subprocess.Popen[str]:
    argv = argv or ("0",)
    return subprocess.Popen(
        [program, machine / "sys", machine / "disk", *argv],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip


def told(program: Path, machine: Path, *argv: str) -> list[str]:
    return start(program, machine, *argv).communicate("\n", timeout=10)[0].splitlines()


def test_it_is_found_by_its_serial_number(program: Path, machine: Path) -> None:
    found = ["mount /dev/vdb /disk ext4 ro", "mounted", "as it was; vdb 1, vda 0"]
    assert told(program, machine) == found


def test_without_one_in_the_plan_there_is_none(program: Path, machine: Path) -> None:
    assert told(program, machine, "0", "none") == ["mounted", "as it was; vdb 0, vda 0"]


def test_one_that_is_not_there_is_told(program: Path, machine: Path) -> None:
    (machine / "sys/block/vdb/serial").write_text("kmodpipe-tool")
    assert told(program, machine)[:2] == ["refused what=disk name= errno=ENODEV", "not mounted"]


def test_one_that_cannot_be_mounted_or_is_another_is_told(program: Path, machine: Path) -> None:
    assert told(program, machine, "EINVAL")[1:3] == ["refused what=disk name=vdb errno=EINVAL", "not mounted"]
    (machine / "disk/.kmodpipe").unlink()
    assert told(program, machine)[1:3] == ["refused what=disk name=vdb errno=ENOENT", "not mounted"]


@pytest.mark.parametrize("done", ["shut down", "written to"])
def test_what_a_case_does_to_it_is_seen(program: Path, machine: Path, done: str) -> None:
    running = start(program, machine)
    assert running.stdout is not None
    while running.stdout.readline() != "mounted\n":
        pass
    if done == "shut down":
        (machine / "disk/.kmodpipe").write_text("")
    else:
        (machine / "sys/block/vdb/stat").write_text("  9 0 8 0  1 0 8 0\n")
    assert running.communicate("\n", timeout=10)[0].startswith("changed")
