"""Hand a tree that is in one cache to another cache, with its identity.

FOLDER/<n>.tar     its files, below tree/
FOLDER/<n>.json    its identity, and where it comes from
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from kmodpipe.cache.share import pack
from kmodpipe.cache.store import Store
from kmodpipe.source import tree
from kmodpipe.source.origin import KeptOrigin
from kmodpipe.source.tree import Tree
from kmodpipe.util import document
from kmodpipe.util.errors import InfraError

_TOP = "tree"


def locate(origin: KeptOrigin, cache: Path, warn: tree.Warn | None = None) -> Tree | None:
    """Return the tree, None if it is not in the cache."""
    return tree.known(cache, origin.identity, warn)


def fetch(origin: KeptOrigin, cache: Path) -> Tree:
    """Return the tree. Raise InfraError if it is not in the cache: there is nowhere to get it from."""
    if found := locate(origin, cache):
        return found
    raise InfraError(
        f"the source of module {origin.name} is not here",
        where=origin.identity,
        hint="it came with a run on a cluster: start that again",
    )


def pack_tree(found: Tree, folder: Path, name: str, scratch: Path) -> int:
    """Write a tree to ``folder`` as ``name``, by way of the empty ``scratch``; return its size in bytes."""

    def without_record(at: str, names: list[str]) -> list[str]:
        # That of git's worktree leads to this cache.
        return [one for one in names if one == ".git" and Path(at) == found.path]

    shutil.copytree(found.path, scratch / _TOP, symlinks=True, ignore=without_record)
    folder.mkdir(parents=True, exist_ok=True)
    packed = folder / f"{name}.tar"
    pack.pack(scratch, packed)
    record = {"identity": found.identity, "provenance": dict(found.provenance)}
    (folder / f"{name}.json").write_text(json.dumps(record, sort_keys=True))
    return packed.stat().st_size


def unpack_trees(folder: Path, cache: Path) -> None:
    """Put the trees in ``folder`` into the cache, those that it does not have.

    Raise InfraError for one that is damaged or not safe to unpack.
    """
    for record in sorted(folder.glob("*.json")) if folder.is_dir() else ():
        try:
            about = document.read_object(record)
            identity = str(about["identity"])
            provenance = {str(key): str(value) for key, value in about["provenance"].items()}
        except (OSError, ValueError, KeyError, AttributeError) as e:
            raise InfraError(
                f"a tree that came along cannot be read: {e}", where=record.name, hint="start the run again"
            ) from e
        if tree.known(cache, identity):
            continue
        with Store(cache).scratch("tree-") as scratch:
            (scratch / "out").mkdir()
            pack.unpack(record.with_suffix(".tar"), scratch / "out", links_below=_TOP)
            made = scratch / "out" / _TOP
            tree.install(cache, made, identity, provenance, what=identity, of_kernel=False)
