"""Compare the functions' stack frames, as the tree's checkstack.pl finds them in the machine code. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from kmodpipe.analysis.check import sections
from kmodpipe.analysis.check.model import Finding, Level

# "0x0000000000001234 ovl_fill_super [overlay]:		176"; before 5.x without the padding, later "… []:".
_LINE = re.compile(r"^0x[0-9a-f]+ (?P<name>\S+) \[[^\]]*\]:\s*(?:Dynamic \()?(?P<bytes>0x[0-9a-f]+|\d+)\)?$")
_HEADER = re.compile(r"^\S*\.(?:ko|o):?\s*(?:file format.*)?$")
# A compiler's copies of one function: foo.isra.0, foo.part.1, foo.constprop.0.
_COPY = re.compile(r"\.(?:isra|part|constprop|cold|lto_priv)\b.*$")
# The default of CONFIG_FRAME_WARN for 64 bits, until 2048 became the one of some.
_BOUND = 1024


@dataclass(frozen=True)
class Frames:
    """The stack frames of a module's functions in bytes, by the function's name."""

    bytes: Mapping[str, int] = field(default_factory=dict)
    failed: str = ""


def parse(text: str) -> Frames:
    """Return the frames; ``text`` is the recipe's file: a status, then what checkstack printed."""
    status, _, rest = text.partition("\n")
    if status.strip() == sections.NONE:
        return Frames(failed="the tree has no scripts/checkstack.pl")
    if status.strip() != "0":
        return Frames(failed=f"checkstack ended with status {status.strip()[:20]}")
    found: dict[str, int] = {}
    for line in filter(str.strip, rest.splitlines()):
        if match := _LINE.match(line):
            name, size = _COPY.sub("", match["name"]), int(match["bytes"], 0)
            found[name] = max(found.get(name, 0), size)
        elif not _HEADER.match(line.strip()):
            return Frames(failed=f"checkstack printed {sections.quoted(line)}")
    return Frames(found)


def compare(before: Frames, after: Frames, bound: int = 0) -> tuple[Finding, ...]:
    """Return a note for each frame that changed, the largest first.

    ``bound`` is CONFIG_FRAME_WARN; 0 stands for the usual one. The compiler itself warns of a frame beyond
    it. checkstack fails nothing, since it adds up what a function takes on all of its paths: it found 3008
    bytes in one with a buffer of 1500.
    """
    bound = bound or _BOUND
    found = []
    for name, size in sorted(after.bytes.items(), key=lambda row: (-row[1], row[0])):
        was = before.bytes.get(name, 0)
        if size == was or (size < was and was <= bound) or max(size, was) < 100:
            continue
        beyond = f", which is more than {bound}" if size > was and size > bound else ""
        text = f"the stack frame of {name} goes from {was} to {size} bytes{beyond}"
        found.append(Finding(Level.NOTE, text, "checkstack"))
    return tuple(found)
