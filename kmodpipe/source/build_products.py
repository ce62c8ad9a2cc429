"""Recognise what is no source: what a kernel build leaves, results and reports, and a project's own files."""

from __future__ import annotations

import re
from pathlib import Path

from kmodpipe.util import paths
from kmodpipe.util.files import IGNORES_ITSELF

CASES = "kmodpipe-cases"
"""The folder of cases that a project begins with."""

_PRODUCT_SUFFIXES = frozenset({
    "o", "a", "ko", "mod", "cmd", "order", "symvers", "dtb", "dtbo", "so", "dwo", "gcno", "gcda", "su",
})  # fmt: skip
_PRODUCT_NAMES = frozenset({".config", ".config.old", ".version", ".missing-syscalls.d"})
_PRODUCT_TOP_NAMES = frozenset({"System.map", "modules.builtin", "modules.builtin.modinfo"})
_PRODUCT_FOLDERS = ("include/config/", "include/generated/", ".tmp_versions/")
_PRODUCT_BELOW = re.compile(
    r"arch/[^/]+/(include/generated/|boot/[^/]*Image[^/]*(?<!\.S)$)|usr/include/[^/]+/"
)


# What this program writes where a command says (--to, --junit, --html): plans, results, reports, pictures.
_DOCUMENT_SUFFIXES = frozenset({".html", ".json", ".svg", ".xml", ".yml"})
_DOCUMENT_MARKS = re.compile(
    rb'"schema": "kmodpipe-|<testsuites [^>]*name="kmodpipe |name="generator" content="kmodpipe"'
    rb'|aria-label="kmodpipe: |\A# Made by: kmodpipe '
)
_HEAD_BYTES = 1024


def is_product(name: str) -> bool:
    """Whether a file of this name (relative to the tree) is made by a kernel build or configuration."""
    base = name.rpartition("/")[2]
    _, dot, suffix = base.rpartition(".")
    if (dot and suffix in _PRODUCT_SUFFIXES) or base in _PRODUCT_NAMES or base.startswith(".tmp_"):
        return True
    if base.endswith((".mod.c", ".so.dbg")) or name.startswith(_PRODUCT_FOLDERS):
        return True
    if base == name:
        return base.startswith("vmlinux") or base in _PRODUCT_TOP_NAMES
    return name.startswith(("arch/", "usr/")) and _PRODUCT_BELOW.match(name) is not None


def is_source(root: Path, name: str) -> bool:
    """Return whether a file below ``root`` that no git has is neither a product nor a document of ours."""
    return not (is_product(name) or _is_document(root / name))


def _is_document(path: Path) -> bool:
    """Return whether a file is one that this program has written, by its first lines."""
    if path.suffix not in _DOCUMENT_SUFFIXES or path.is_symlink() or not paths.is_file(path):
        return False
    try:
        with path.open("rb") as f:
            return _DOCUMENT_MARKS.search(f.read(_HEAD_BYTES)) is not None
    except OSError:
        return False


def is_of_project(name: str) -> bool:
    """Return whether a file below a source's top says how it is tested, as `init` lays that out."""
    return name == "kmodpipe.toml" or name.startswith(f"{CASES}/")


def ignores_itself(folder: Path) -> bool:
    """Whether a folder has a .gitignore for all that is in it, as results have."""
    try:
        with (folder / ".gitignore").open() as f:
            return f.read(3) == IGNORES_ITSELF
    except (OSError, UnicodeDecodeError):
        return False
