"""The stages of `check`: each state of a source compiled, and each series' text looked at, once.

Their keys cover what the tools read: an edit of one patch checks that one and those after it again, and a
patch of documentation compiles nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from kmodpipe import kconfig
from kmodpipe.build.check_recipes import (
    CHECKPATCH,
    COCCICHECK,
    COMPILED,
    KERNEL_DOC,
    Checker,
    CompileOrder,
    TextOrder,
)
from kmodpipe.build.complete import require_files, require_folders
from kmodpipe.build.configured import Buildable
from kmodpipe.build.kbuild import make_flags
from kmodpipe.build.recipes import WorkDir
from kmodpipe.build.sharing import Subject
from kmodpipe.build.stage import Stage
from kmodpipe.cache.store import Artifact, Inputs
from kmodpipe.source import Tree
from kmodpipe.util import shipped
from kmodpipe.util.digest import digest_file, digest_of

# Raise it when the meaning of a key changes, so that no artifact of an earlier version is taken.
_VERSION = 1
_PROSE = (".rst", ".txt", ".md")
# Sources that kernel-doc reads.
COMMENTED = (".c", ".h")


def source_of(subject: Subject) -> Path:
    """Return the top of the source that a series is for: the tree, or a module's own."""
    return subject.own.path if subject.own else subject.src


def touched_by(subject: Subject) -> tuple[str, ...]:
    """Return the files that a series touches, relative to `source_of`."""
    return subject.series.touched if subject.series else ()


@dataclass(frozen=True)
class CheckStages:
    """Makes the stages for one kernel that is built from a tree."""

    tree: Tree
    folder: str  # of the module, relative to the tree
    checker: Checker
    # Of the runtime of the checks, whose image is not the builder's.
    identity: Inputs

    def _inputs(self, *recipes: str, **own: object) -> Inputs:
        """Return the inputs of a stage that runs some of the ``recipes``."""
        folder = shipped.part(self.checker.images, "check")
        run = [digest_file(folder / name) for name in recipes]
        return {**own, "tools": dict(self.identity), "recipe": [_VERSION, *run]}

    def kit(self, base: Artifact, make: Mapping[str, str]) -> Stage:
        """Return the stage of the kit that states are compiled against."""

        def run(work: WorkDir) -> None:
            self.checker.prepare(self.tree.path, base.path / "obj", make, work)

        inputs = self._inputs("prepare.sh", base=base.key, make=dict(make))
        return Stage(
            "check-kit", base.key[:12], inputs, run, need_mib=256,
            check=lambda folder: require_folders(folder, "obj"),
        )  # fmt: skip

    def compiled(
        self, subject: Subject, configured: Buildable, kit: Artifact, targets: Sequence[str]
    ) -> Stage:
        """Return the stage of one state of the source, compiled for one cell."""
        make = make_flags(configured.final)
        own = tuple(target for target in targets if target.startswith(f"{self.folder}/"))
        order = CompileOrder(
            configured.cell.id,
            subject.src,
            kit.path / "obj",
            configured.text,
            self.folder,
            own,
            make,
            tuple(target for target in targets if target not in own),
        )
        inputs = self._inputs(
            "compile.sh",
            "sparse",
            kit=kit.key,
            source=subject.contents_of(lambda name: not name.endswith(_PROSE)),
            configuration=kconfig.digest(configured.final),
            targets=list(targets),
            make=dict(make),
        )
        return Stage(
            "check", configured.cell.id, inputs, lambda work: self.checker.compile(order, work), need_mib=512,
            check=lambda folder: require_files(folder, *(f"out/{name}" for name in COMPILED), empty=True),
        )  # fmt: skip

    def text(self, states: Sequence[Subject], mails: Sequence[bytes]) -> Stage:
        """Return the stage of a series' text; ``states`` are the source before it and after each patch."""
        touched = sorted({name for one in states for name in touched_by(one) if name.endswith(COMMENTED)})
        files = {
            number: {
                name: path
                for name in touched
                for path in [source_of(one) / name]
                if path.is_file() and not path.is_symlink()
            }
            for number, one in enumerate(states)
        }
        name = states[-1].variant.name
        order = TextOrder(name, self.tree.path, dict(enumerate(mails, 1)), files)
        inputs = self._inputs(
            "text.sh",
            tree=self.tree.identity,
            patches=[sha256(mail).hexdigest() for mail in mails],
            files=digest_of([one.own.identity if one.own else dict(one.contents) for one in states]),
        )
        return Stage(
            "check-text", name, inputs, lambda work: self.checker.text(order, work),
            check=lambda folder: require_files(folder, f"out/{CHECKPATCH}", f"out/{KERNEL_DOC}", empty=True),
        )  # fmt: skip

    def cocci(self, subject: Subject) -> Stage:
        """Return the stage of the semantic patches on one state of the source."""
        name = subject.variant.name
        inputs = self._inputs(
            "cocci.sh",
            tree=self.tree.identity,
            folder=self.folder,
            source=subject.contents_of(lambda file: file.endswith((*COMMENTED, ".cocci"))),
        )
        return Stage(
            "check-cocci", name, inputs,
            lambda work: self.checker.cocci(name, subject.src, self.folder, work),
            check=lambda folder: require_files(folder, f"out/{COCCICHECK}", empty=True),
        )  # fmt: skip
