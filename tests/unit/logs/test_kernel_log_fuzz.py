"""The parsers of logs stand what `tests.fuzz` makes up, and what it found once."""

from __future__ import annotations

import time

import pytest

from kmodpipe.logs.kernel_log import parse
from kmodpipe.logs.signatures import SIGNATURES
from tests.fuzz import check, runs


def test_made_up_logs_are_parsed_within_bounds() -> None:
    runs(1, 60)()


@pytest.mark.parametrize("data", [b""])
@pytest.mark.parametrize("piece", [1, 7, 65_536])
def test_what_was_found_once_stays_mended(data: bytes, piece: int) -> None:
    check(data, piece)


@pytest.mark.parametrize(
    "filler", ["{} ", "{}", "{}: ", "{} at ", "{} in a.b/c:1 ", "[    1.000000] {} (", "{} [#"]
)
def test_no_header_takes_more_than_linear_time(filler: str) -> None:
    """A line of 16 KiB, as long as the parser takes them, of each header over and over again."""
    for token in sorted({signature.token for signature in SIGNATURES}):
        line = (filler.format(token) * 16_384)[: 16 * 1024].encode()
        began = time.process_time()
        parse(line)
        assert time.process_time() - began < 1, token
