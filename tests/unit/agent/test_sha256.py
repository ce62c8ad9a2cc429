"""The agent's own SHA-256 and HMAC against this machine's: C that is not compiled here is not tested here."""

from __future__ import annotations

import hashlib
import hmac
import subprocess
from pathlib import Path

import pytest

from tests.support.agent import compile_with

NONCE = "3b225c0333d3373f93c743f0ed8ec3a7"
# Reads a file: its digest, and under NONCE the signature of its content, a line each.
PROGRAM = r"""
#define _GNU_SOURCE
#include "agent.h"
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
int main(int argc, char **argv)
{
    char hex[SHA256_HEX], *data = malloc(1 << 20);
    unsigned char digest[SHA256_SIZE];
    struct hmac mac;
    int fd = open(argv[argc - 1], O_RDONLY);
    if (fd < 0 || !sha256_of_file(fd, hex))
        return 1;
    puts(hex);
    ssize_t size = read(fd, data, 1 << 20);   /* its place in the file is where it was */
    hmac_begin(&mac, argv[1], strlen(argv[1]));
    hmac_of(&mac, data, size, digest);
    hmac_of(&mac, data, size, digest);
    to_hex(digest, sizeof(digest), hex);
    puts(hex);
    return 0;
}
"""


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compile_with(tmp_path_factory.mktemp("sha256"), PROGRAM, "sha256.c")


def sums(program: Path, data: bytes, folder: Path) -> list[str]:
    (folder / "data").write_bytes(data)
    done = subprocess.run([program, NONCE, folder / "data"], capture_output=True, text=True, check=True)
    return done.stdout.split()


def test_the_standards_own_vectors(program: Path, tmp_path: Path) -> None:
    assert sums(program, b"abc", tmp_path)[0] == (
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    )
    assert sums(program, b"", tmp_path)[0] == (
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    )


@pytest.mark.parametrize("size", [1, 54, 55, 56, 63, 64, 65, 119, 120, 128, 16384, 16385, 300_001])
def test_every_size_around_a_block(program: Path, tmp_path: Path, size: int) -> None:
    data = bytes(i * 7 % 251 for i in range(size))
    assert sums(program, data, tmp_path) == [
        hashlib.sha256(data).hexdigest(),
        hmac.new(NONCE.encode(), data, "sha256").hexdigest(),
    ]
