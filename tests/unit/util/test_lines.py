"""Lines of an output that comes in pieces, and the last of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from kmodpipe.util.lines import LineOutput, LineSplitter, Tail, tail_of


def test_lines_are_whole_wherever_the_pieces_are_cut() -> None:
    text = b"one\n\ntwo \xc3\xa9\nthe rest"
    for size in range(1, len(text) + 1):
        splitter = LineSplitter()
        pieces = (text[at : at + size] for at in range(0, len(text), size))
        assert [line for piece in pieces for line in splitter.feed(piece)] == ["one", "", "two é"]
        assert splitter.rest == "the rest"


def test_a_line_without_an_end_keeps_its_last_8_kib() -> None:
    splitter = LineSplitter()
    for _ in range(100):
        assert splitter.feed(b"x" * 1000) == []
    assert len(splitter.rest) == 8192
    assert splitter.feed(b"y\n") == ["x" * 8191 + "y"]
    assert splitter.feed(b"z" * 10000 + b"\n") == ["z" * 8192]


def test_a_terminals_end_of_line_is_no_part_of_a_line() -> None:
    assert LineSplitter().feed(b"Unpacking x ...\r\n50%\r100%\r\n") == ["Unpacking x ...", "50%\r100%"]


def test_only_the_last_lines_of_a_flood_are_cut_out() -> None:
    splitter = LineSplitter()
    flood = b"".join(b"%d\n" % number for number in range(1000))
    assert splitter.feed(flood + b"more", 3) == ["997", "998", "999"]
    assert splitter.feed(b"\nb\n", 3) == ["more", "b"]


@pytest.mark.parametrize("passed_on", [True, False])
def test_streams_share_a_tail_and_no_line(passed_on: bool) -> None:
    seen: list[str] = []
    output = LineOutput(seen.append if passed_on else None, streams=2)
    output.feed(b"out", 0)
    output.feed(b"err\nunfinished", 1)
    output.feed(b" and out\n", 0)
    assert output.close() == "err\nout and out\nunfinished"
    assert seen == (["err", "out and out"] if passed_on else [])


def test_a_tail_keeps_the_last_lines() -> None:
    tail = Tail(2)
    assert tail.text == ""
    tail.add("a")
    tail.add("b", "c")
    assert tail.text == "b\nc"


def test_the_tail_of_a_log_begins_where_it_is_told_to(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"before\n" + b"line\n" * 30 + b"bad \xff\n")
    assert tail_of(log, 7).splitlines() == ["line"] * 19 + ["bad \ufffd"]
    assert tail_of(log, log.stat().st_size - 6, lines=3) == "bad \ufffd"
    assert tail_of(tmp_path / "none") == ""
