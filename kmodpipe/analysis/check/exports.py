"""Compare the symbols that a module exports, and their versions: the CRCs of their types. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from kmodpipe.analysis.check import sections
from kmodpipe.analysis.check.model import Finding, Level

_SYMBOL = re.compile(r"^[0-9a-f]+ (?:[0-9a-f]+ )?[a-zA-Z] __ksymtab_(?P<name>\w+)$")
# genksyms: "__crc_foo = 0x1234abcd;", later "SYMVER __crc_foo = 0x…;" or "#SYMVER foo 0x1234abcd".
_CRC = re.compile(r"(?:__crc_|#?SYMVER )(?P<name>\w+)\s*=?\s*(?P<crc>0x[0-9a-f]+)")


@dataclass(frozen=True)
class Exports:
    """The exported symbols, each with its CRC; 0 if that is not known."""

    crcs: Mapping[str, int] = field(default_factory=dict)
    failed: str = ""


def parse(symbols: str, crcs: str) -> Exports:
    """Return what a module exports, of the recipe's files ``symbols`` and ``crcs``."""
    found: dict[str, int] = {}
    for part in sections.parse(symbols):
        for line in part.lines:
            if match := _SYMBOL.match(line):
                found[match["name"]] = 0
    failed = ""
    for part in sections.parse(crcs):
        own = {m["name"]: int(m["crc"], 16) for line in part.lines if (m := _CRC.search(line))}
        found |= {name: crc for name, crc in own.items() if name in found}
        if part.status != 0 or not own:
            failed = failed or f"no versions of the symbols of {part.words[-1]}: genksyms failed"
    if found and not any(found.values()) and not failed:
        failed = "no versions of the exported symbols"
    return Exports(found, failed)


def compare(before: Exports, after: Exports) -> tuple[Finding, ...]:
    """Return a note for each symbol that is new, gone, or has another type."""
    found = [
        Finding(Level.NOTE, f"exports {name}", "new-symbol")
        for name in sorted(after.crcs.keys() - before.crcs.keys())
    ]
    found += [
        Finding(Level.NOTE, f"no longer exports {name}", "removed-symbol")
        for name in sorted(before.crcs.keys() - after.crcs.keys())
    ]
    for name in sorted(before.crcs.keys() & after.crcs.keys()):
        was, now = before.crcs[name], after.crcs[name]
        if was and now and was != now:
            text = f"the type of {name}, which is exported, changes: version {was:#010x} to {now:#010x}"
            found.append(Finding(Level.NOTE, text, "changed-symbol"))
    return tuple(found)
