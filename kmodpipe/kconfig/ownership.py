"""Decide which symbols are a module's own: those that nothing in vmlinux is built from.

Only their values may differ between cells that boot the same vmlinux. The text of a tree is searched, and
what is not sure counts as read by vmlinux:

- a symbol's name in any file outside the module's folder, with or without ``CONFIG_`` and ``_MODULE``, or a
  part of it that a macro or make completes (``IS_REACHABLE(CONFIG_DVB_ ## fe)``);
- objects of the folder that are built in, headers and sources of it that other folders use;
- a configuration with which vmlinux holds all of ``.config``, or what follows from it (`WHOLE_CONFIG`).

Kconfig files outside the folder need no search: what they make of a symbol are values of other symbols, which
the final configuration has.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from kmodpipe.kconfig.symbol_uses import is_kconfig
from kmodpipe.util import process
from kmodpipe.util.errors import InfraError

# With one of these, vmlinux depends on every symbol: on all of .config (kernel/Makefile: config_data,
# kheaders_data), on what modules import (scripts/gen_autoksyms.sh), on all symbols as --cfg arguments of
# rustc (include/generated/rustc_cfg), whose symbol names hold a hash of them.
WHOLE_CONFIG = ("IKCONFIG", "IKHEADERS", "TRIM_UNUSED_KSYMS", "RUST")
# Files that no compiler and no Makefile reads.
INERT = ("Documentation/", "MAINTAINERS", "CREDITS", "tools/testing/")

_SEARCH_S = 600
_WORD = re.compile(rb"\w+")
# The part of a symbol's name that stands in the source, where a macro or make adds the rest.
_PASTED = re.compile(rb"\bCONFIG_(\w+?)\s*(?:##|\$[({])")
_PASTED_EXTENDED = r"CONFIG_[A-Za-z0-9_]+[[:space:]]*(##|\$[({])"
# Ways to read a configuration without the name of each symbol; in a series, they make every symbol unsure.
_READS_ALL = re.compile(
    rb"\bCONFIG_\w*\s*(?:##|\$[({])|##\s*CONFIG_|\bautoconf\.h|\bauto\.conf|\bKCONFIG_CONFIG\b|(?<!\w)\.config\b"
    rb"|\binclude/config\b|\bconfig_data\b"
)
_MAKEFILE = re.compile(r"(?:^|/)(?:Makefile|Kbuild)[^/]*$|\.mk$|\.mak$")
_JOINED = re.compile(r"\\\n")
_COMMENT = re.compile(r"#[^\n]*")
_OBJECTS = re.compile(r"\s*obj-(?:m|\$\(CONFIG_(\w+)\))\s*[:+?]?=.*")
# What could add objects in a way that is not evaluated here.
_UNSURE = re.compile(r"(?<![\w-])(?:obj|lib)-|^\s*-?s?include\b|\$[({]eval\b|^\s*\$[({]|[)}]-(?:y\b|\$)")


@dataclass(frozen=True)
class Outside:
    """What the files outside a module's folder read of its symbols and of the folder."""

    # A file that reads the symbol, by symbol.
    readers: Mapping[str, str] = field(default_factory=dict)
    # A file that includes or links files of the module's folder; "" if none does.
    user: str = ""
    # A file that may read every symbol; "" if none does.
    reads_all: str = ""


def search(root: Path, folder: str, symbols: Iterable[str]) -> Outside:
    """Search the whole tree at ``root`` outside ``folder``: this reads every file, in 1 to 10 s.

    Raise InfraError if grep fails.
    """
    wanted = sorted(set(symbols))
    base = folder.rpartition("/")[2]
    words = [base, *(form for symbol in wanted for form in _forms(symbol))]
    names = _grep(root, ["-F", "-w", *(word for one in words for word in ("-e", one))])
    pasted = _grep(root, ["-E", "-e", _PASTED_EXTENDED])
    found = Outside()
    for name in sorted({*names, *pasted}):
        if _is_searched(name, folder):
            found = _merged(found, _read_in(root, name, folder, wanted))
    return found


def search_files(root: Path, folder: str, symbols: Iterable[str], names: Iterable[str]) -> Outside:
    """Search the files ``names``, which a series changes, outside ``folder``.

    They can be anything: one that may read the configuration as a whole makes every symbol unsure.
    """
    wanted = sorted(set(symbols))
    found = Outside()
    for name in sorted(set(names)):
        if not _is_below(name, folder) and not is_kconfig(name):
            found = _merged(found, _read_in(root, name, folder, wanted))
            if _READS_ALL.search(_bytes(root / name)):
                found = _merged(found, Outside(reads_all=name))
    return found


def built_in(root: Path, folder: str, config: Mapping[str, str]) -> str:
    """Return which Makefile may link an object of ``folder`` into vmlinux under ``config``; "" if none does.

    Only assignments such as ``obj-$(CONFIG_X) += x.o`` with X at m or n are known to link none.
    """
    for path in sorted((root / folder).rglob("*")):
        name = path.relative_to(root).as_posix()
        if _MAKEFILE.search(name) and path.is_file():
            text = _JOINED.sub(" ", _COMMENT.sub("", _bytes(path).decode("utf-8", "replace")))
            for line in text.splitlines():
                if _UNSURE.search(line):
                    match = _OBJECTS.fullmatch(line)
                    if match is None or config.get(match[1] or "", "n") == "y":
                        return f"{name}: {line.strip()[:100]}"
    return ""


def _grep(root: Path, arguments: list[str]) -> list[str]:
    argv = ["grep", "-rlaZ", "--exclude-dir=.git", *arguments, "."]
    # In the C locale, bytes that are no UTF-8 hide nothing, and it is faster.
    done = process.run(argv, cwd=root, timeout_s=_SEARCH_S, check=False, env={"LC_ALL": "C"}, whole=True)
    # 2: a file could not be read, or there is no grep.
    if done.returncode not in (0, 1):
        raise InfraError(
            f"the tree cannot be searched: {done.tail[-300:]}",
            where=str(root),
            hint="are all of its files readable? Is grep installed? Run: invoke setup",
        )
    return [
        name.decode("utf-8", "surrogateescape").removeprefix("./")
        for name in done.stdout.split(b"\0")
        if name
    ]


def _forms(symbol: str) -> tuple[str, ...]:
    """Return the words by which sources and Makefiles read a symbol."""
    return symbol, f"CONFIG_{symbol}", f"{symbol}_MODULE", f"CONFIG_{symbol}_MODULE"


def _is_below(name: str, folder: str) -> bool:
    return name.startswith(f"{folder}/")


def _is_searched(name: str, folder: str) -> bool:
    """Whether a file of an unpatched tree can have a part in vmlinux."""
    parts = name.split("/")
    settings = parts[-1].endswith("defconfig") or (name.endswith(".config") and "configs" in parts)
    return not (settings or _is_below(name, folder) or is_kconfig(name) or name.startswith(INERT))


def _bytes(path: Path) -> bytes:
    with suppress(OSError):
        if path.is_symlink():
            return bytes(path.readlink())
        if path.is_file():
            return path.read_bytes()
    return b""


def _read_in(root: Path, name: str, folder: str, symbols: Iterable[str]) -> Outside:
    data = _bytes(root / name)
    words = set(_WORD.findall(data))
    prefixes = tuple(match[1].decode() for match in _PASTED.finditer(data))
    readers = {
        symbol: name
        for symbol in symbols
        if symbol.startswith(prefixes) or any(form.encode() in words for form in _forms(symbol))
    }
    return Outside(readers, name if _uses(root, name, folder, data) else "")


def _uses(root: Path, name: str, folder: str, data: bytes) -> bool:
    """Whether a file includes or links one of the module's folder, or puts it on an include path."""
    base = re.escape(folder.rpartition("/")[2].encode())
    if _MAKEFILE.search(name):
        objects = re.findall(rb"(?<![\w.-])" + base + rb"/((?:[\w.-]+/)*[\w.-]+)\.[oa]\b", data)
        paths = [rb"-I\s*\S*/" + base + rb"(?![\w.-])", rb"-I\s*" + base + rb"(?![\w.-])"]
        return any(re.search(p, data) for p in paths) or any(
            (root / folder / f"{stem.decode()}{suffix}").exists()
            for stem in objects
            for suffix in (".c", ".S", ".o")
        )
    if re.search(rb"INCLUDE_PATH[^\n]*\b" + base + rb"\b", data):
        return True
    included = re.findall(rb'(?:#\s*include|\.incbin|\.include)\b[^\n]*?[/"<]' + base + rb'/([^">\s]+)', data)
    is_link = (root / name).is_symlink()
    return any((root / folder / rest.decode("utf-8", "surrogateescape")).exists() for rest in included) or (
        is_link and re.search(rb"(?:^|/)" + base + rb"(?:/|$)", data) is not None
    )


def _merged(one: Outside, other: Outside) -> Outside:
    return Outside({**other.readers, **one.readers}, one.user or other.user, one.reads_all or other.reads_all)
