"""Decide which symbols are a module's own: those that nothing in vmlinux is built from.

Only their values may differ between cells that boot the same vmlinux. The text of a tree is searched, and
what is not sure counts as read by vmlinux:

- a symbol's name in a Makefile or a script outside the module's folder, with or without ``CONFIG_`` and
  ``_MODULE``, or a part of it that a macro or make completes (``IS_REACHABLE(CONFIG_DVB_ ## fe)``), or an
  argument of a macro that makes a symbol of any word (``CONFIG_##x``): no build leaves a record of these;
- ``CONFIG_X`` in C and assembly outside the folder, or in a file of the folder that these include, where the
  configuration may build something there. fixdep records what is compiled, so a base tells if one was missed
  (`kmodpipe.build.sharing`): a bare name, or a file in a folder that builds nothing, is no use;
- objects of the folder that are built in, or that other folders link;
- a configuration with which vmlinux holds all of ``.config``, or what follows from it (`WHOLE_CONFIG`).

Kconfig files outside the folder need no search: what they make of a symbol are values of other symbols, which
the final configuration has. Nor do the tools of Kconfig, and other architectures than x86.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from kmodpipe.kconfig.mentions import Text, content, is_makefile, reach
from kmodpipe.kconfig.symbol_uses import is_kconfig
from kmodpipe.util import costs, process
from kmodpipe.util.errors import InfraError

# With one of these, vmlinux depends on every symbol: on all of .config (kernel/Makefile: config_data,
# kheaders_data), on what modules import (scripts/gen_autoksyms.sh), on all symbols as --cfg arguments of
# rustc (include/generated/rustc_cfg), whose symbol names hold a hash of them.
WHOLE_CONFIG = ("IKCONFIG", "IKHEADERS", "TRIM_UNUSED_KSYMS", "RUST")
# Files that no compiler and no Makefile reads.
INERT = ("Documentation/", "MAINTAINERS", "CREDITS", "tools/testing/")
# What no build of vmlinux runs or reads, or what it runs makes of it is in .config: tools of Kconfig, of
# packagers, of people. If one is compiled after all, fixdep records it.
_NOT_BUILT = (
    *INERT, "LICENSES/", "tools/perf/", "tools/power/", "tools/kvm/", "tools/memory-model/",
    "scripts/kconfig/", "scripts/package/", "scripts/gdb/", "scripts/coccinelle/", "scripts/tracing/",
    "scripts/selinux/mdp/", "scripts/dtc/dt_to_config", "scripts/checkpatch.pl", "scripts/diffconfig",
    "scripts/get_maintainer.pl",
)  # fmt: skip
# A configuration that somebody can ask for, and what people read.
_SETTINGS = ("defconfig", ".config", ".kunitconfig")
_TEXTS = (".rst", ".md", "README", "TODO")

_SEARCH_S = 600
# A name whose rest a macro or make adds, there or on the next line.
_PASTED_EXTENDED = r"CONFIG_[A-Za-z0-9_]+[[:space:]]*(##|\$[({]|\\$)"
# Ways to read a configuration without the name of each symbol; in a series, they make every symbol unsure.
_READS_ALL = re.compile(
    rb"\bCONFIG_\w*\s*(?:##|\$[({])|##\s*CONFIG_|\bautoconf\.h|\bauto\.conf|\bKCONFIG_CONFIG\b|(?<!\w)\.config\b"
    rb"|\binclude/config\b|\bconfig_data\b"
)
_JOINED = re.compile(r"\\\n")
_COMMENT = re.compile(r"#[^\n]*")
_OBJECTS = re.compile(r"\s*obj-(?:m|\$\(CONFIG_(\w+)\))\s*[:+?]?=.*")
# What could add objects in a way that is not evaluated here.
_UNSURE = re.compile(r"(?<![\w-])(?:obj|lib)-|^\s*-?s?include\b|\$[({]eval\b|^\s*\$[({]|[)}]-(?:y\b|\$)")


@dataclass(frozen=True)
class Outside:
    """What the files outside a module's folder read of its symbols and of the folder."""

    # A file that may read the symbol without a record of it, by symbol.
    readers: Mapping[str, str] = field(default_factory=dict)
    # Files of C and assembly that read the symbol if they are compiled, by symbol.
    recorded: Mapping[str, Sequence[str]] = field(default_factory=dict)
    # The folder's files that such a file includes, with what these include, by the including file.
    included: Mapping[str, Sequence[str]] = field(default_factory=dict)
    # A file that links one of the folder, or takes one in another way; "" if none does.
    user: str = ""
    # A file that may read every symbol; "" if none does.
    reads_all: str = ""
    # Files of which a macro may make symbols of bare words; None for any file of C.
    completed: frozenset[str] | None = frozenset()


@costs.step(costs.Part.KCONFIG)
def search(root: Path, folder: str, symbols: Iterable[str]) -> Outside:
    """Search the whole tree at ``root`` outside ``folder``: this reads every file, in 1 to 10 s.

    Raise InfraError if grep fails.
    """
    wanted = sorted(set(symbols))
    base = folder.rpartition("/")[2]
    words = [base, "CONFIG_", *(form for symbol in wanted for form in _forms(symbol))]
    names = _grep(root, ["-F", "-w", *(word for one in words for word in ("-e", one))])
    pasted = _grep(root, ["-E", "-e", _PASTED_EXTENDED])
    texts = [Text(root, name) for name in sorted({*names, *pasted}) if _is_searched(name, folder)]
    return _read(texts, folder, wanted, _completed(texts))


def search_files(
    root: Path, folder: str, symbols: Iterable[str], names: Iterable[str], completed: frozenset[str] | None
) -> Outside:
    """Search the files ``names``, which a series changes, outside ``folder``.

    They can be anything: one that may read the configuration as a whole makes every symbol unsure.
    ``completed`` is the unpatched tree's.
    """
    texts = [
        Text(root, name)
        for name in sorted(set(names))
        if not _is_below(name, folder) and not is_kconfig(name)
    ]
    found = _read(texts, folder, sorted(set(symbols)), completed)
    reads_all = next((text.name for text in texts if _READS_ALL.search(content(root / text.name))), "")
    return replace(found, reads_all=reads_all)


def _completed(texts: Iterable[Text]) -> frozenset[str] | None:
    """Return the files in which a macro may make a symbol of a bare word; None for any file of C."""
    found: set[str] = set()
    for text in texts:
        if text.completes:
            names = None if text.name.endswith(".h") else reach(text)
            if names is None:
                return None
            found |= names
    return frozenset(found)


def _read(
    texts: Sequence[Text], folder: str, symbols: Sequence[str], completed: frozenset[str] | None
) -> Outside:
    """Return what the texts read of the symbols and of the folder."""
    readers: dict[str, str] = {}
    recorded: dict[str, list[str]] = {}
    included: dict[str, Sequence[str]] = {}
    user = ""
    for text in texts:
        for symbol in text.unrecorded(symbols, completed=completed is None or text.name in completed):
            readers.setdefault(symbol, text.name)
        files = _closure(text, folder)
        if files is None or text.uses(folder):
            user = user or text.name
        elif files:
            included[text.name] = files
        for one in (text, *(Text(text.root, name) for name in files or ())):
            for symbol in one.recorded(symbols):
                recorded.setdefault(symbol, []).append(text.name)
            for symbol in one.unrecorded(symbols, completed=True) if one is not text else ():
                readers.setdefault(symbol, text.name)
    return Outside(readers, recorded, included, user, completed=completed)


def _closure(text: Text, folder: str) -> Sequence[str] | None:
    """Return the files of a folder that a file outside includes, with those of the folder that they include.

    None if that cannot be told.
    """
    found: dict[str, None] = {}
    left = list(text.includes_of(folder))
    while left:
        name = left.pop()
        if name not in found:
            found[name] = None
            for more in Text(text.root, name).included():
                if more is None:
                    return None
                left += [more] if _is_below(more, folder) else []
    return sorted(found)


class Makefiles:
    """What the Makefiles of a source tree build under a configuration; each folder is read once."""

    def __init__(self, root: Path) -> None:
        self._root = root
        # By folder, the lines that may build an object: with the symbol that it takes, "" for a module in any
        # case, or None if that is not known.
        self._lines: dict[str, list[tuple[str | None, str]]] = {}

    def built_in(self, folder: str, config: Mapping[str, str]) -> str:
        """Return what may link an object of ``folder`` into vmlinux under ``config``; "" if nothing does.

        Only assignments such as ``obj-$(CONFIG_X) += x.o`` with X at m or n are known to link none.
        """
        return next((line for symbol, line in self._of(folder) if _value(symbol, config) == "y"), "")

    def may_compile(self, name: str, config: Mapping[str, str]) -> bool:
        """Whether a file of C may be compiled under ``config``, into vmlinux or a module.

        A header of include/ always may. Others are of the nearest folder with a Makefile, where that may
        build something.
        """
        folder = name.rpartition("/")[0]
        if "include" in folder.split("/"):
            return True
        while folder and not any((self._root / folder / file).is_file() for file in ("Makefile", "Kbuild")):
            folder = folder.rpartition("/")[0]
        # Of a folder at the top, one part or another is always built.
        return "/" not in folder or any(_value(symbol, config) != "n" for symbol, _ in self._of(folder))

    def _of(self, folder: str) -> list[tuple[str | None, str]]:
        if folder not in self._lines:
            self._lines[folder] = list(_objects(self._root, folder))
        return self._lines[folder]


def _objects(root: Path, folder: str) -> Iterator[tuple[str | None, str]]:
    for path in sorted((root / folder).rglob("*")):
        name = path.relative_to(root).as_posix()
        if is_makefile(name) and path.is_file():
            text = _JOINED.sub(" ", _COMMENT.sub("", content(path).decode("utf-8", "replace")))
            for line in text.splitlines():
                if _UNSURE.search(line):
                    match = _OBJECTS.fullmatch(line)
                    yield (match[1] or "") if match else None, f"{name}: {line.strip()[:100]}"


def _value(symbol: str | None, config: Mapping[str, str]) -> str:
    """Return the value with which a line of a Makefile builds its objects."""
    if symbol is None:
        return "y"
    return config.get(symbol, "n") if symbol else "m"


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
    if name.startswith("arch/") and not name.startswith("arch/x86/") and name.count("/") > 1:
        return False
    # A source may have any name.
    aside = name.endswith((*_SETTINGS, *_TEXTS)) and not name.endswith((".c", ".h", ".S"))
    return not (aside or _is_below(name, folder) or is_kconfig(name) or name.startswith(_NOT_BUILT))
