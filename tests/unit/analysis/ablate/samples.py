"""A series on a small C file, as the tests of ablate read it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from kmodpipe.analysis.ablate.edits import Edits
from kmodpipe.series import changes
from kmodpipe.series.diff import read_patch
from kmodpipe.series.model import Patch
from tests.support.trees import commit_all, git, write


class Work:
    """A repository in which each change is a patch, as git makes it."""

    def __init__(self, folder: Path, files: Mapping[str, str]) -> None:
        self.folder = folder
        self.before = {name: text.encode() for name, text in files.items()}
        self.patches: list[Patch] = []
        # The files after each patch.
        self.states: list[dict[str, bytes]] = [dict(self.before)]
        folder.mkdir(parents=True)
        write(folder, dict(files))
        commit_all(folder, "base")

    def change(self, files: Mapping[str, str | None], context: int = 3) -> None:
        """Make a patch of these new contents; None removes a file."""
        state = dict(self.states[-1])
        for name, text in files.items():
            if text is None:
                (self.folder / name).unlink()
                del state[name]
            else:
                write(self.folder, {name: text})
                state[name] = text.encode()
        git(self.folder, "add", "-A")
        text = git(self.folder, "diff", "--cached", "-M", f"-U{context}") + "\n"
        name = f"{len(self.patches) + 1:04}.patch"
        self.patches.append(read_patch(name, Path(name), text.encode(), where=name))
        self.states.append(state)
        commit_all(self.folder, "next")

    def edits(self) -> Edits:
        """Return the edits of all patches."""
        found = [one for patch in self.patches for one in changes.of_patch(patch)]
        placed, _ = changes.placed(found, self.before.get)
        return Edits((patch.name for patch in self.patches), placed, self.before.get)


def numbered(*names: object) -> str:
    """A file with these lines."""
    return "".join(f"{name}\n" for name in names)
