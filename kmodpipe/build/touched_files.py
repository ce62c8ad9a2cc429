"""What a build does with the files that a series touches."""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path

from kmodpipe.build.sharing import Subject

# Files that Kconfig does not read, but see `configuring_files`.
_PLAIN = (".c", ".h", ".S", ".rst")
# What lets a Kconfig file read another one: a macro with arguments, such as $(shell,…), or a source line.
_MACRO = re.compile(r"\$\([^)\s]*,")
_SOURCE = re.compile(r"^\s*\w*source\b(.*)", re.MULTILINE)
_KNOWN_MACRO = re.compile(r"\$\((?:srctree|SRCARCH)\)|\$SRCARCH")
# What the compiler reads, and what nothing reads below one folder alone: elsewhere programs of the build are
# made from some texts (objtool from x86-opcode-map.txt).
_SOURCES, _TEXTS, _TEXTS_BELOW = (".c", ".h"), (".rst", ".txt"), "Documentation/"
# What a file holds that is there, no link and no program (`sharing.content`).
_DIGEST = re.compile(r"[0-9a-f]{64}")
# What lets an assembler read a file that is not in the preprocessed text.
_READS_MORE = re.compile(rb"\.include|incbin")
# What a makefile compiles programs for the host by, or runs commands of its own with.
_RUNS = re.compile(rb"hostprogs|userprogs|HOSTCC|\$[({]shell|(?<!\\)\n\t")


def only_compiled(subject: Subject, folder: str) -> bool:
    """Return whether a build of the module in ``folder`` does no more with a series than compile it.

    That is so where it touches C below that folder, and Kconfig files and documentation that run nothing, and
    nothing else; if the folder's makefiles `run_nothing`. What such a build leaves, the tree's own makefiles
    and the compiler made.
    """
    others = {name for name in subject.touched if not name.rpartition("/")[2].startswith("Kconfig")}
    return all(_is_only_compiled(subject.src / name, name, folder, others) for name in subject.touched)


def _is_only_compiled(path: Path, name: str, folder: str, others: Collection[str]) -> bool:
    if path.is_symlink() or (path.exists() and not path.is_file()):
        return False
    text = path.read_bytes() if path.exists() else b""
    if _READS_MORE.search(text):
        return False
    if name not in others:
        return b"$(" not in text and not _may_read(path, others)
    if name.endswith(_SOURCES):
        return name.startswith(f"{folder}/")
    return name.endswith(_TEXTS) and name.startswith(_TEXTS_BELOW)


def sources(subject: Subject, folder: str) -> frozenset[str]:
    """Return the touched files that are plain files of C below the module's ``folder``."""
    return frozenset(
        name
        for name, held in subject.contents.items()
        if name.endswith(_SOURCES) and name.startswith(f"{folder}/") and _DIGEST.fullmatch(held)
    )


def run_nothing(folder: Path) -> bool:
    """Return whether the makefiles below a folder of the pristine tree only name what is to be compiled."""
    found = [path for name in ("Makefile*", "Kbuild*") for path in folder.rglob(name)]
    return not any(_RUNS.search(path.read_bytes()) for path in found if path.is_file())


def configuring_files(subject: Subject) -> dict[str, str]:
    """Return the content of the touched files that can change the outcome of Kconfig.

    Sources and documentation cannot, unless `kconfig_runs_nothing` is false: then all touched files count.
    """
    if not kconfig_runs_nothing(subject):
        return dict(subject.contents)
    return subject.contents_of(lambda name: not name.endswith(_PLAIN))


def kconfig_runs_nothing(subject: Subject) -> bool:
    """Return whether Kconfig reads nothing of a series but its Kconfig files, and these run no commands.

    Not so if one sources a file of another kind, or the series changes what any Kconfig file may run.
    """
    plain = {name for name in subject.touched if name.endswith(_PLAIN)}
    others = (name for name in subject.touched if name not in plain)
    return not any(is_host_tool(name) or _may_read(subject.src / name, plain) for name in others)


def _may_read(path: Path, names: Collection[str]) -> bool:
    """Whether a file that may be a Kconfig file may read one of ``names`` by a source line or a macro."""
    if path.is_symlink():
        return True
    try:
        text = path.read_text("utf-8", "replace")
    except OSError:
        return False
    if path.name.startswith(("Makefile", "Kbuild")):
        return False
    sourced = [_KNOWN_MACRO.sub("", words) for words in _SOURCE.findall(text)]
    return _MACRO.search(text) is not None or any(
        "$" in words or any(name.rpartition("/")[2] in words for name in names) for words in sourced
    )


def is_host_tool(name: str) -> bool:
    """Return whether the tree's host tools (conf, fixdep) are built from or by a file of that name."""
    return name.startswith(("scripts/", "tools/")) or name in ("Makefile", "Kbuild")
