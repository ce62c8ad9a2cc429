"""Trees with an edit, each a copy of the patched tree made of hard links.

A copy is made once for each worker and then edited and restored: it takes seconds, an edit none. For each
edit it has another name, since a source of one path does not change while a command runs (`build.sharing`).
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from kmodpipe.analysis.ablate.edits import Edit
from kmodpipe.cache.store import Store
from kmodpipe.util import paths
from kmodpipe.util.hardlinks import link_or_copy, make_farm


class Bench:
    """Lends copies of one tree."""

    def __init__(self, tree: Path, store: Store, stack: ExitStack) -> None:
        """The copies are removed when ``stack`` is left."""
        self._tree = tree
        self._home = stack.enter_context(store.scratch("ablate-"))
        self._free: list[Path] = []
        self._lock = threading.Lock()
        self._lent = 0

    @contextmanager
    def edited(self, edit: Edit) -> Iterator[Path]:
        """Lend a copy of the tree with an edit."""
        with self._lock:
            self._lent += 1
            number = self._lent
            copy = self._free.pop() if self._free else None
        here = self._home / f"{edit.slug}-{number}"
        if copy is None:
            make_farm(self._tree, here)
        else:
            copy.rename(here)
        _write(edit.files, here)
        try:
            yield here
        finally:
            self._restore(edit.files, here)
            with self._lock:
                self._free.append(here)

    def _restore(self, files: Mapping[str, bytes | None], here: Path) -> None:
        for name in files:
            target, original = here / name, self._tree / name
            target.unlink(missing_ok=True)
            if original.exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                link_or_copy(str(original), str(target))


def _write(files: Mapping[str, bytes | None], here: Path) -> None:
    for name, content in files.items():
        target = here / name
        mode = target.stat().st_mode & 0o777 if paths.is_file(target) else 0o644
        # Never into a file that the tree has as well.
        target.unlink(missing_ok=True)
        if content is not None:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
            target.chmod(mode)
