"""Configuration fragments: parse, merge, render, and compare with the final ``.config``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from kmodpipe.util import document, paths
from kmodpipe.util.digest import digest_of
from kmodpipe.util.errors import Report, UserError, raised

_SET = re.compile(r"CONFIG_(\w+)=(.*)")
_UNSET = re.compile(r"# CONFIG_(\w+) is not set")
_OPTION = re.compile(r"(?:CONFIG_)?(\w+)=(.+)", re.ASCII)
# A comment to the kernel's own tools, a request to us.
_IF_KNOWN = re.compile(r"#\s*if known:\s*(.*)")
_LINE = (
    "a line is CONFIG_X=y (m, a number, a \"string\") or '# CONFIG_X is not set'; a symbol that only some "
    "trees have is asked for with '# if known: CONFIG_X=y'"
)


@dataclass(frozen=True)
class SymbolRequest:
    """A symbol with the value that a fragment or an axis requests for it."""

    # Without the CONFIG_ prefix.
    symbol: str
    # y, m, n (not set), a number or a quoted string.
    value: str
    # FRAGMENT:LINE, or "axis NAME=VALUE".
    origin: str
    # It holds only in trees whose Kconfig defines the symbol.
    if_known: bool = False


@dataclass(frozen=True)
class Mismatch:
    """A symbol whose value in the final configuration is not the requested one."""

    requested: SymbolRequest
    # The value in the final configuration; n where it is not set.
    got: str

    def __str__(self) -> str:
        wanted = self.requested
        return f"{wanted.symbol}: requested {wanted.value}, got {self.got} ({wanted.origin})"


def parse_config(text: str) -> dict[str, str]:
    """Return the values in a final ``.config`` by symbol; "is not set" is ``n``. Ignore all other lines."""
    values: dict[str, str] = {}
    for line in text.splitlines():
        if match := _SET.fullmatch(line.rstrip()):
            values[match[1]] = match[2]
        elif match := _UNSET.fullmatch(line.rstrip()):
            values[match[1]] = "n"
    return values


def parse_fragment(text: str, name: str, report: Report = raised) -> tuple[SymbolRequest, ...]:
    """Return the requests of the fragment ``text``; ``name`` is its file's name, for messages.

    ``# if known: CONFIG_X=y`` is a request that only trees which define the symbol are held to. Report a
    UserError, naming file and line, for a line that is no setting and for a symbol that is set twice.
    """
    requests: dict[str, SymbolRequest] = {}
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.strip()
        origin = f"{name}:{number}"
        conditional = _IF_KNOWN.fullmatch(line)
        line = conditional[1] if conditional else line
        if match := _UNSET.fullmatch(line):
            entry = SymbolRequest(match[1], "n", origin, bool(conditional))
        elif match := _SET.fullmatch(line):
            entry = SymbolRequest(match[1], match[2], origin, bool(conditional))
        elif not conditional and (not line or line.startswith("#")):
            continue
        else:
            report(UserError(f"not a configuration line: {line!r}", where=origin, hint=_LINE))
            continue
        if first := requests.get(entry.symbol):
            what = f"{entry.symbol} is set twice in one fragment"
            report(UserError(what, where=f"{first.origin}, {origin}"))
        requests[entry.symbol] = entry
    return tuple(requests.values())


def requests_of(option: str) -> tuple[SymbolRequest, ...]:
    """Return the requests of one ``--config``: SYMBOL=VALUE, with or without CONFIG_, or a fragment's path.

    Raise UserError for a file that cannot be read, and as `parse_fragment` does.
    """
    if match := _OPTION.fullmatch(option):
        return (SymbolRequest(match[1], match[2], f"--config {option}"),)
    path = Path(option)
    hint = '--config takes SYMBOL=y (m, n, a number, a "string"), or a file with such lines'
    if not paths.is_file(path):
        what = "is not a file" if paths.exists(path) else "is neither SYMBOL=VALUE nor a file"
        raise UserError(f"{option!r} {what}", where="--config", hint=hint)
    with document.given("the fragment", option):
        text = document.read_text(path, most=document.MIB)
    return parse_fragment(text, option)


def merge(layers: Iterable[Iterable[SymbolRequest]]) -> dict[str, SymbolRequest]:
    """Return the requests of all layers by symbol; a later layer overrides an earlier one."""
    merged: dict[str, SymbolRequest] = {}
    for layer in layers:
        for entry in layer:
            merged[entry.symbol] = entry
    return merged


def render(requested: Mapping[str, SymbolRequest]) -> str:
    """Return the requests as the text of a fragment, sorted, so that equal requests give equal bytes."""
    lines = []
    for symbol, entry in sorted(requested.items()):
        lines.append(
            f"# CONFIG_{symbol} is not set" if entry.value == "n" else f"CONFIG_{symbol}={entry.value}"
        )
    return "\n".join(lines) + "\n"


def verify(requested: Mapping[str, SymbolRequest], final: Mapping[str, str]) -> tuple[Mismatch, ...]:
    """Return the requested symbols that have another value in the final configuration.

    A request for "not set" is compared as well; of a number, 0 is that: some symbols were a bool in one
    kernel and are a number in the next.
    """
    return tuple(
        Mismatch(entry, final.get(symbol, "n"))
        for symbol, entry in sorted(requested.items())
        if not (final.get(symbol, "n") == entry.value or (entry.value, final.get(symbol)) == ("n", "0"))
    )


def digest(final: Mapping[str, str], without: Iterable[str] = ()) -> str:
    """Return the SHA-256 (hex) of a final configuration without the symbols in ``without``.

    A symbol that is not set and one that is absent give the same digest.
    """
    left_out = set(without)
    return digest_of(sorted((s, v) for s, v in final.items() if v != "n" and s not in left_out))
