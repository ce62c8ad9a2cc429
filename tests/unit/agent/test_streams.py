"""What the agent sends of a case's observations and output, and what it counts as dropped."""

from __future__ import annotations

import subprocess
from pathlib import Path
from tempfile import TemporaryFile

import pytest

from tests.support.agent import compile_with

# Observations come on standard input, or output; prints how many records there were and what was dropped.
PROGRAM = r"""
#define _GNU_SOURCE
#include "runcase.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
static int observed, is_observation;
static size_t sent;
int own_open(const char *path, int flags) { (void)path; (void)flags; return -1; }
void rec_begin(const char *type) { is_observation = !strcmp(type, "obs"); observed += is_observation; }
void rec_text(const char *key, const char *value) { (void)key; (void)value; }
void rec_number(const char *key, int64_t value) { (void)key; (void)value; }
void rec_bytes(const char *key, const void *data, size_t size)
{
    (void)data;
    if (!is_observation && !strcmp(key, "data"))
        sent += size;
}
void rec_end(void) { }
int main(int argc, char **argv)
{
    static struct planned planned = { .index = "0" };
    struct running r = { .planned = &planned, .out = -1, .obs = -1, .kmsg = -1 };
    *(argc > 1 && !strcmp(argv[1], "out") ? &r.out : &r.obs) = 0;
    drain_all(&r);
    printf("%d %zu %zu %zu\n", observed, r.obs_dropped, sent, r.out_dropped);
    return 0;
}
"""


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compile_with(tmp_path_factory.mktemp("streams"), PROGRAM, "streams.c")


def drained(program: Path, data: bytes, stream: str = "obs") -> list[int]:
    """Observations sent and dropped, bytes of output sent and dropped."""
    with TemporaryFile() as pipe:
        pipe.write(data)
        pipe.seek(0)
        done = subprocess.run([program, stream], stdin=pipe, capture_output=True, check=True, timeout=20)
    return [int(word) for word in done.stdout.split()]


@pytest.mark.parametrize(
    ("data", "sent", "dropped"),
    [
        (b"", 0, 0),
        (b"outcome\tmounted\n", 1, 0),
        (b"\n\noutcome\t\n", 1, 0),
        (b"k\tv\n" * 500, 500, 0),
        (b"k\tv\n" * 501, 500, 1),
        (b"k\tv\n" * 4000 + b"outcome\tother\n", 500, 3501),
        # Half a line may be half a value.
        (b"outcome\tmounted\noutcome\tother", 1, 1),
        (b"outcome other\n", 0, 1),
        (b"\tother\n", 0, 1),
        (b"k\t" + b"v" * 1150 + b"\n", 1, 0),
        (b"k\t" + b"v" * 1151 + b"\nk\tv\n", 1, 1),
        (b"v" * 100_000, 0, 1),
    ],
)
def test_each_observation_is_sent_or_counted(program: Path, data: bytes, sent: int, dropped: int) -> None:
    assert drained(program, data)[:2] == [sent, dropped]


@pytest.mark.parametrize(
    ("size", "kept"), [(0, 0), (262_144, 262_144), (262_145, 262_144), (9_000_000, 262_144)]
)
def test_each_byte_of_output_is_sent_or_counted(program: Path, size: int, kept: int) -> None:
    # Much more than is read at once: all of it is read before the case ends.
    assert drained(program, b"x" * size, "out")[2:] == [kept, size - kept]
