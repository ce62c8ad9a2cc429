"""Speed and memory of the parser of kernel logs, for `tests.benchmark --logs`."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Mapping

from kmodpipe.logs.kernel_log import Parser, parse
from kmodpipe.logs.signatures import SIGNATURES
from tests.support import CORPUS
from tests.unit.logs.corpus.forms import Kernel, log
from tests.unit.logs.corpus.kinds import SAMPLES

MIB = 1024 * 1024
_KERNEL = Kernel("6.1", "x86")


def texts() -> Mapping[str, bytes]:
    """Return what logs are made of, by name: each is repeated until the log is long enough."""
    crashes = (log(s.lines(_KERNEL), "task") for s in SAMPLES if _KERNEL in list(s.kernels()))
    # The words of each header, none of which is one.
    near = [f"[    3.000000] foo: {s.token.lower()}? no\n".encode() for s in SIGNATURES]
    watched = b"[    3.000000] I/O error, dev loop0, sector 8 op 0x0:(READ) flags 0x0\n"
    return {
        "clean text": (CORPUS / "console" / "clean-5.10.log").read_bytes(),
        "one crash after another": b"".join(crashes),
        "near misses": b"".join(line for line in near if not parse(line)),
        "messages that nothing watches for": watched,
        "no newline": b" ".join(s.token.encode() for s in SIGNATURES),
    }


def seconds(text: bytes, mib: int) -> float:
    """Return the processor time that a log of so many MiB takes, of a text over and over again."""
    piece = text * (MIB // len(text) + 1)
    parser = Parser()
    began = time.process_time()
    for _ in range(mib):
        parser.feed(piece[:MIB])
    parser.finish()
    return time.process_time() - began


def peak_mib(text: bytes, mib: int) -> float:
    """Return the most memory that parsing such a log takes, in MiB beside the pieces of the log."""
    piece = (text * (MIB // len(text) + 1))[:MIB]
    parser = Parser()
    tracemalloc.start()
    try:
        for _ in range(mib):
            parser.feed(piece)
        parser.finish()
        return tracemalloc.get_traced_memory()[1] / MIB
    finally:
        tracemalloc.stop()
