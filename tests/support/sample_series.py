"""Patches of a toy tree."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tests.support.trees import commit_all, git, make_tree, write


def diff(changes: Mapping[str, str], folder: Path) -> str:
    """A git patch from the toy tree to the toy tree with these files; made by git itself."""
    make_tree(folder)
    commit_all(folder, "base")
    write(folder, changes)
    git(folder, "add", "-A")
    return git(folder, "diff", "--cached", "-M") + "\n"


def toy_header(line: str) -> dict[str, str]:
    return {"fs/toy/toy.h": f"int a;\n{line}\nint c;\n"}


def folder_of(root: Path, patches: Mapping[str, str], toml: str = "", listing: str | None = None) -> Path:
    """A series ``fix`` below ``root``; returns ``root``."""
    write(
        root / "fix",
        {**patches, "series.toml": toml, "series": listing or "".join(f"{n}\n" for n in patches)},
    )
    return root
