"""The verdict channel believes what the agent sent, in order, and nothing else."""

import tracemalloc

import pytest

from kmodpipe.vm.protocol import MAX_LINE, Channel, Ledger, decode_value, encode_record, encode_value

NONCE = "0123456789abcdef0123456789abcdef"
OTHER = "f" * 32
GUESTS = "3b225c0333d3373f93c743f0ed8ec3a7"


def lines(*rows: tuple[str, dict[str, str | bytes | int]], nonce: str = NONCE, first: int = 0) -> list[bytes]:
    return [encode_record(nonce, first + n, kind, fields) for n, (kind, fields) in enumerate(rows)]


GOOD = lines(
    ("hello", {"proto": 1, "cmdline": "console=ttyS0 panic=-1"}),
    ("start", {"case": 0, "id": "mount"}),
    ("out", {"case": 0, "data": bytes(range(256))}),
    ("end", {"case": 0, "how": "exit", "status": 0}),
    ("done", {"cases": 1}),
)


MARK = b" ".join(GOOD[0].split(b" ")[:2]) + b" "


@pytest.mark.parametrize("size", [1, 7, 64, 100_000])
def test_records_arrive_whatever_the_size_of_the_pieces(size: int) -> None:
    channel, stream = Channel(NONCE), b"".join(GOOD)
    records = [r for at in range(0, len(stream), size) for r in channel.feed(stream[at : at + size])]
    channel.close()
    assert [r.type for r in records] == ["hello", "start", "out", "end", "done"]
    assert [r.seq for r in records] == [0, 1, 2, 3, 4]
    assert records[0].fields["cmdline"] == "console=ttyS0 panic=-1"
    assert records[2].raw("data") == bytes(range(256))
    assert records[3].number("status") == 0
    assert channel.whole and not channel.cut and channel.foreign_bytes == 0


def test_the_format_is_the_one_that_the_agent_in_the_guest_writes() -> None:
    # Taken from a guest of ours: a change of the encoding on either side shows here.
    line = b"KP 415a6b88f4ba9b0cae05ff92475bee77 7 "
    line += b"cac3607c22fd57f4112706601aed1fe8 obs case=0 key=index_entries_before value=1\n"
    (record,) = Channel(GUESTS).feed(b"".join(filler(7)) + line)[7:]
    assert record.fields == {"case": "0", "key": "index_entries_before", "value": "1"}
    assert encode_record(GUESTS, 7, "obs", dict(record.fields)) == line


def filler(count: int) -> list[bytes]:
    return [encode_record(GUESTS, n, "beat") for n in range(count)]


def test_a_record_gives_nothing_away_of_the_nonce() -> None:
    assert not any(NONCE.encode() in line or line.startswith(b"KP " + NONCE.encode()[:8]) for line in GOOD)


@pytest.mark.parametrize(
    "forged",
    [
        # All that somebody who reads the channel can know: the mark, the number that is due, old signatures.
        MARK + b"1 " + b"0" * 32 + b" done cases=0\n",
        MARK + b"1 " + GOOD[0].split(b" ")[3] + b" done cases=0\n",
        MARK + b"1 " + MARK.split(b" ")[1] + b" done cases=0\n",
        MARK + b"1 00000000 done cases=0\n",
        MARK + b"1  done cases=0\n",
        GOOD[0].replace(b" 0 ", b" 1 "),
    ],
)
def test_a_record_that_is_made_from_others_is_damage(forged: bytes) -> None:
    channel = Channel(NONCE)
    assert [r.type for r in channel.feed(GOOD[0] + forged)] == ["hello"]
    assert not channel.whole


@pytest.mark.parametrize(
    "forged",
    [
        encode_record(OTHER, 1, "done", {"cases": 0}),
        b"KP done cases=0\n",
        b"TAP version 14\nok 1\n",
        b"\x1b]0;title\x07\x00\xff\xfe" * 100 + b"\n",
        MARK[:-2] + b"\n",
        b"KP " + NONCE.encode() + b" 1 00000000 done cases=0\n",
    ],
)
def test_what_lacks_the_mark_is_counted_and_changes_nothing(forged: bytes) -> None:
    channel = Channel(NONCE)
    records = channel.feed(GOOD[0] + forged + GOOD[1])
    assert [r.type for r in records] == ["hello", "start"]
    assert channel.whole
    assert channel.foreign_bytes == len(forged.translate(None, b"\r\n"))


def test_a_record_behind_bytes_without_an_end_of_line_is_found() -> None:
    channel = Channel(NONCE)
    assert [r.type for r in channel.feed(b"x" * 3 * MAX_LINE + GOOD[0])] == ["hello"]
    assert channel.whole


def broken(line: bytes, old: bytes, new: bytes) -> bytes:
    assert line.count(old) == 1
    return line.replace(old, new)


@pytest.mark.parametrize(
    "damaged",
    [
        broken(GOOD[1], b"case=0", b"case=1"),  # signature
        GOOD[1][:60] + b"\n",  # cut
        GOOD[1][:80],  # cut, and the next line behind it
        encode_record(NONCE, 1, "Start"),
        encode_record(NONCE, 1, "start", {"Case": 1}),
        encode_record(NONCE, 1, "start case=0", {"case": 0}),  # a key twice
        broken(GOOD[1], b" 1 ", b" 01 "),
        encode_record(NONCE, 1, "out", {"data": "x" * MAX_LINE}),
    ],
)
def test_a_broken_record_is_damage_and_the_ones_behind_it_are_still_read(damaged: bytes) -> None:
    channel = Channel(NONCE)
    records = channel.feed(GOOD[0] + damaged + GOOD[2])
    assert [r.type for r in records] == ["hello", "out"]
    assert not channel.whole


def test_a_gap_is_damage() -> None:
    channel = Channel(NONCE)
    assert [r.seq for r in channel.feed(GOOD[0] + GOOD[2])] == [0, 2]
    assert channel.damaged == 1


def test_a_repeated_record_is_damage_and_not_believed_again() -> None:
    channel = Channel(NONCE)
    assert [r.seq for r in channel.feed(GOOD[0] + GOOD[1] + GOOD[1])] == [0, 1]
    assert channel.damaged == 1


def test_a_stream_that_ends_within_a_record_is_cut_and_not_damaged() -> None:
    channel = Channel(NONCE)
    channel.feed(GOOD[0] + GOOD[1][:-10])
    channel.close()
    assert channel.cut and channel.whole


def test_memory_stays_bounded_whatever_comes() -> None:
    channel = Channel(NONCE)
    mark = MARK
    pieces = (b"x" * 65536, mark + b"0 " + b"y" * 65536, b"KP " * 20000, b"\n" * 65536, mark[:-5])
    tracemalloc.start()
    try:
        for piece in pieces:
            for _ in range(50):
                channel.feed(piece)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < 1024 * 1024
    assert channel.damaged > 0


@pytest.mark.parametrize("value", [b"", b"a b=c%\n", bytes(range(256)), "ä~!".encode()])
def test_values_survive_the_encoding(value: bytes) -> None:
    token = encode_value(value)
    assert decode_value(token.encode()) == value
    assert set(token) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._:/,+@-%")


# -- the ledger ------------------------------------------------------------------------------------
def ledger(planned: set[int], *rows: tuple[str, dict[str, str | bytes | int]]) -> Ledger:
    book = Ledger(planned)
    for record in Channel(NONCE).feed(b"".join(lines(*rows))):
        book.take(record)
    return book


HELLO: tuple[str, dict[str, str | bytes | int]] = ("hello", {})


def case(index: int, how: str = "exit") -> list[tuple[str, dict[str, str | bytes | int]]]:
    return [("start", {"case": index}), ("end", {"case": index, "how": how})]


def test_a_whole_plan_is_complete() -> None:
    assert ledger({3, 5}, HELLO, *case(3), *case(5), ("done", {"cases": 2})).complete
    assert ledger(set(), HELLO, ("done", {"cases": 0})).complete
    assert ledger({1}, HELLO, ("refused", {"what": "module"}), ("done", {"cases": 0})).complete


@pytest.mark.parametrize(
    "rows",
    [
        [HELLO, *case(0), *case(1)],  # no last record
        [HELLO, *case(0), ("done", {"cases": 1})],
        [HELLO, *case(0), ("done", {"cases": 2})],
        [HELLO, *case(0), *case(0), ("done", {"cases": 2})],
        [HELLO, *case(0), *case(2), ("done", {"cases": 2})],
        [HELLO, *case(0), *case(1)[:1], ("done", {"cases": 2})],
        [HELLO, *case(0)[:1], *case(1), ("done", {"cases": 2})],
        [HELLO, *case(0), *case(1)[1:], ("done", {"cases": 2})],
        [HELLO, *case(0), *case(1), ("done", {})],
        [HELLO, *case(0), *case(1), ("done", {"cases": 2}), ("done", {"cases": 2})],
        [HELLO, *case(0), HELLO, *case(1), ("done", {"cases": 2})],
        [*case(0), *case(1), ("done", {"cases": 2})],
        [HELLO, ("refused", {}), *case(0), *case(1), ("done", {"cases": 2})],
    ],
)
def test_anything_less_than_the_plan_is_not_complete(
    rows: list[tuple[str, dict[str, str | bytes | int]]],
) -> None:
    assert not ledger({0, 1}, *rows).complete


def test_a_guest_that_retires_counts_the_cases_that_ended() -> None:
    book = ledger({0, 1}, HELLO, *case(1), ("retired", {"cases": 1, "why": "after case 1"}))
    assert book.retired_well and not book.complete
    assert book.why == "after case 1"
    assert ledger({0, 1}, HELLO, *case(0), *case(1), ("retired", {"cases": 2})).retired_well
    assert ledger({0, 1}, HELLO, *case(1, "stuck"), ("retired", {"cases": 1})).retired_well


@pytest.mark.parametrize(
    "rows",
    [
        [HELLO, ("retired", {"cases": 0})],  # a guest that would do the same again
        [HELLO, ("retired", {"cases": 1})],
        [HELLO, *case(0), ("retired", {"cases": 2})],
        [HELLO, *case(0), ("retired", {})],
        [HELLO, *case(0), *case(1)[:1], ("retired", {"cases": 1})],
        [HELLO, *case(0), ("retired", {"cases": 1}), *case(1)],
        [HELLO, *case(0), ("retired", {"cases": 1}), ("done", {"cases": 1})],
        [HELLO, *case(0), *case(1), ("done", {"cases": 2}), ("retired", {"cases": 2})],
        [HELLO, *case(2), ("retired", {"cases": 1})],
        [*case(0), ("retired", {"cases": 1})],
        [HELLO, ("refused", {}), ("retired", {"cases": 0})],
    ],
)
def test_a_last_record_that_retires_and_does_not_fit_is_not_believed(
    rows: list[tuple[str, dict[str, str | bytes | int]]],
) -> None:
    book = ledger({0, 1}, *rows)
    assert not book.retired_well and not book.complete
    assert book.problems


def test_a_stuck_case_is_known() -> None:
    assert ledger({0, 1}, HELLO, *case(0, "stuck")).stuck == 0
