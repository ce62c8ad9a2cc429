"""The agent's ear: what it takes for the host's word, compiled here and fed with bytes."""

from __future__ import annotations

import subprocess
from pathlib import Path
from tempfile import TemporaryFile

import pytest

from kmodpipe.vm.protocol import encode_ahead
from tests.support.agent import compile_with

NONCE = "3b225c0333d3373f93c743f0ed8ec3a7"
# A clock that stands at 100 s; the channel is standard input; prints how far the clock is ahead.
PROGRAM = r"""
#define _GNU_SOURCE
#include "agent.h"
#include <stdio.h>
#include <string.h>
static struct hmac key;
int64_t uptime_ms(void) { return 100000; }
int channel_fd(void) { return 0; }
void channel_sign(const char *text, size_t size, char hex[MAC_HEX])
{
    unsigned char digest[SHA256_SIZE];
    hmac_of(&key, text, size, digest);
    to_hex(digest, MAC_SIZE, hex);
}
int main(int argc, char **argv)
{
    hmac_begin(&key, argv[argc - 1], strlen(argv[argc - 1]));
    host_listen();
    printf("%lld\n", (long long)(uptime_ms() - own_ms()));
    return 0;
}
"""


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compile_with(tmp_path_factory.mktemp("host"), PROGRAM, "host.c", "sha256.c")


def heard(program: Path, data: bytes) -> int:
    """How far the agent believes its clock to be ahead, in ms."""
    with TemporaryFile() as port:
        port.write(data)
        port.seek(0)
        done = subprocess.run([program, NONCE], stdin=port, capture_output=True, check=True, timeout=20)
    return int(done.stdout)


def word(seconds: float, nonce: str = NONCE) -> bytes:
    return encode_ahead(nonce, seconds)


@pytest.mark.parametrize(
    ("data", "ms"),
    [
        (b"", 0),
        (word(1.5), 1500),
        (word(1.5) + word(2) + word(90.25), 90250),
        # The sum only grows: an older word that somebody sends again changes nothing.
        (word(9) + word(2), 9000),
        # A word without its end is none yet; one that was cut spoils the next, and no more.
        (word(1)[:-1], 0),
        (word(1)[:20] + word(2) + word(3), 3000),
        (b"KP " + b"0" * 32 + b" 5 " + b"0" * 32 + b" beat uptime_ms=1\n" + word(4), 4000),
        (b"x" * 5000 + b"\n" + word(4), 4000),
        (b"\0\n\n KH\nKH \n" + word(4), 4000),
    ],
)
def test_the_last_word_counts(program: Path, data: bytes, ms: int) -> None:
    assert heard(program, data) == ms


def test_a_word_in_the_hosts_mouth_is_not_believed(program: Path) -> None:
    other = word(5, "0" * 32)
    longer = word(5).replace(b" 5000", b" 50000")
    unsigned = b"KH " + b"0" * 32 + b" 5000\n"
    for forged in (other, longer, unsigned, word(5).replace(b" 5000", b" 5000x"), word(5)[:36] + b"\n"):
        assert forged != word(5)
        assert heard(program, forged) == 0
