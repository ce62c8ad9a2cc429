"""Feed the parsers of logs what no kernel prints: ``python -m tests.fuzz [MINUTES]``.

Logs are put together from lines of the corpus, their parts, headers that are almost right, long runs and
bytes. Whatever the log, a parser raises nothing, keeps to its bounds, takes no more time a byte for a
longer log, and finds the same however the log is cut into pieces, unless it has overlong lines, which are
cut themselves. `tests/unit/logs/test_kernel_log_fuzz.py` runs some of it, and keeps what was found as
examples.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from kmodpipe.logs import ktap
from kmodpipe.logs.kernel_log import MAX_REPORTS, Parser, parse
from kmodpipe.logs.signatures import SIGNATURES
from tests.unit.logs.corpus.forms import STYLES, Kernel, log
from tests.unit.logs.corpus.kinds import SAMPLES

# Bytes that are parsed in a second even on a busy machine; it is some hundred times as many.
_BYTES_A_SECOND = 20_000
_LONGEST = 50_000
# A longer line may be cut in another place if the log comes in other pieces.
_LONG_LINE = 4096
_KERNELS = (Kernel("5.10", "x86"), Kernel("7.0", "x86"), Kernel("6.1", "arm64"), Kernel("6.1", "arm"))
_LINES = sorted(
    {
        line
        for sample in SAMPLES
        for kernel in _KERNELS
        if kernel in list(sample.kernels())
        for line in log(sample.lines(kernel), "bare").split(b"\n")
    }
)
_WORDS = [
    b"TAP version 13", b"KTAP version 1", b"1..3", b"ok 1 - a", b"not ok 2 b # TODO c", b"# Subtest: d",
    b"# SKIP", b"at ", b"in ", b": ", b"+0x1/0x2", b"[foo]", b"[#1]", b"Call Trace:", b"=" * 40,
    b"PID: 1 Comm: a Not tainted ", b"[    1.000000]", b"[  T12]", b"<4>", b"\r", b"\x1b[0m", b"\\x0a",
    b"fs/foo.c:10", b"0x" + b"f" * 16, b" " * 60,
]  # fmt: skip
_TOKENS = sorted({signature.token.encode() for signature in SIGNATURES})
_WHOLE = st.sampled_from(_LINES)
_PART = st.builds(lambda line, a, b: line[a:b], _WHOLE, st.integers(0, 60), st.integers(0, 120))
_NEAR = st.lists(st.sampled_from([*_TOKENS, *_WORDS]), min_size=1, max_size=8).map(b"".join)
_RUN = st.builds(lambda word, n: word * n, st.sampled_from([*_TOKENS, *_WORDS]), st.integers(1, 3000))
_PREFIX = st.sampled_from([prefix(3).encode() for prefix in STYLES.values()])
_LINE = st.builds(
    lambda prefix, line: prefix + line,
    _PREFIX,
    st.one_of(_WHOLE, _WHOLE, _PART, _NEAR, st.binary(max_size=80)),
)
LOGS = st.lists(st.one_of(_LINE, _LINE, _LINE, _RUN), max_size=60).map(
    lambda lines: b"\n".join(lines)[:_LONGEST]
)


def check(data: bytes, piece: int) -> None:
    """Assert what holds for every log."""
    began = time.process_time()
    reports = parse(data)
    assert time.process_time() - began < 1 + len(data) / _BYTES_A_SECOND, "it takes too long"
    assert sum(not report.watch for report in reports) <= MAX_REPORTS
    assert all(len(report.title) < 400 and len(report.lines) <= 250 for report in reports)
    if max(map(len, data.split(b"\n"))) > _LONG_LINE:
        piece = len(data)
    parser = Parser()
    for at in range(0, len(data), piece):
        parser.feed(data[at : at + piece])
    assert parser.finish() == reports, "it depends on how the log is cut"
    text = data.decode("utf-8", "replace")
    began = time.process_time()
    ktap.parse(text)
    assert time.process_time() - began < 1 + len(data) / _BYTES_A_SECOND, "KTAP takes too long"


def runs(seed_number: int, examples: int) -> Callable[[], None]:
    """Return a function that checks so many logs of a seed."""

    @seed(seed_number)
    @settings(
        max_examples=examples, deadline=None, database=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(LOGS, st.sampled_from([256, 1000, 65_536]))
    def run(data: bytes, piece: int) -> None:
        check(data, piece)

    return run


def main(argv: Sequence[str]) -> int:
    """Check logs of one seed after another for so many minutes."""
    until = time.monotonic() + 60 * float(argv[0] if argv else 1)
    number, examples = int(time.time()), 200
    first = number
    while time.monotonic() < until:
        runs(number, examples)()
        number += 1
    print(f"{(number - first) * examples} logs, seeds {first} to {number - 1}: nothing")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
