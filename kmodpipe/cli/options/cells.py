"""Which kernels, series, cells and cases: each group adds to the one that it inherits from."""

from __future__ import annotations

from dataclasses import dataclass

from kmodpipe.cli.option import EVERYWHERE, Use, Values, option
from kmodpipe.cli.options.derived import JSON, OUTPUT, Common


@dataclass(frozen=True)
class TreeOptions(Common):
    """Which kernels."""

    tree: tuple[str, ...] = option(
        (),
        "a declared tree, a folder, a git URL with #ref, or a tarball by path or URL; or NAME= and one of "
        "these; repeatable: each is a kernel to test",
        EVERYWHERE,
        short="t",
        of=Values.TREE,
    )
    kernel: tuple[str, ...] = option(
        (), "the same by another name: a distribution's own kernel such as debian-12, or a tree; repeatable",
        EVERYWHERE, short="k", of=Values.TREE,
    )  # fmt: skip
    head: bool = option(
        False,
        "the newest of what moves: branches, packages of kernels and of tools",
        EVERYWHERE,
    )

    @property
    def kernels(self) -> tuple[str, ...]:
        """All kernels that are named."""
        return (*self.tree, *self.kernel)


@dataclass(frozen=True)
class SourceOptions(TreeOptions):
    """Which tree, and which series on it."""

    series: tuple[str, ...] = option(
        (), "a name under patches/, a folder, mailbox or patch, REPOSITORY#BASE..TOPIC, the "
        "Message-ID of a list, or none; repeatable",
        Use.QUESTION | Use.JOB, short="s", of=Values.SERIES,
    )  # fmt: skip


@dataclass(frozen=True)
class BuildOptions(SourceOptions):
    """Which cells are built, and where."""

    each_patch: bool = option(
        False, "the series after each of its patches as well, as NAME@1, NAME@2 …", EVERYWHERE
    )
    matrix: str = option("", "the matrix file, if not the one of the project", EVERYWHERE, path=True)
    config: tuple[str, ...] = option(
        (),
        "a symbol for every cell, SYMBOL=y, over what the fragments say; or a fragment's path; repeatable",
        EVERYWHERE,
    )
    module: str = option(
        "",
        "the module under test, if the series does not name it: a folder, or one module of it "
        "(drivers/md/dm-snapshot.ko); or the source of one in no tree: a path such as . or a git URL",
        EVERYWHERE,
        of=Values.MODULE,
    )
    # A job names its cells, and with them their flavours.
    flavour: tuple[str, ...] = option(
        (),
        "only this flavour of the matrix; plain and all are known; repeatable",
        Use.QUESTION | Use.REPEAT,
        of=Values.FLAVOUR,
    )
    cell: tuple[str, ...] = option(
        (), "only this cell; patterns with * work; repeatable", Use.QUESTION, of=Values.CELL
    )
    sample: int = option(
        0,
        "of the cells, only so many that have every combination of so many axes' values: 2 for all pairs",
        Use.QUESTION,
    )
    no_control: bool = option(
        False, "leave the unpatched tree out: nothing is compared, and every report says so", Use.QUESTION
    )
    runtime: str = option(
        "docker",
        "where builds run: docker, or host (own compiler, no isolation)",
        EVERYWHERE,
        of=Values.RUNTIME,
    )
    share: str = option(
        "", "a registry's repository to share built artifacts through, or none", Use.JOB,
        exempt="artifacts from a registry are the same as built here, by key and digest", of=Values.SHARE,
    )  # fmt: skip


@dataclass(frozen=True)
class PlanOptions(BuildOptions):
    """invoke plan."""

    json: bool = option(False, JSON, exempt=OUTPUT)


@dataclass(frozen=True)
class RunOptions(BuildOptions):
    """Which cases run in the cells, and how often."""

    case: tuple[str, ...] = option(
        (),
        "only this case or those of a pattern, or a script of your own by its path; repeatable",
        Use.QUESTION | Use.JOB,
        short="c",
        of=Values.CASE,
    )
    design: str = option(
        "", "the design whose expectations hold for the series, if it declares none", EVERYWHERE
    )
    shuffle: str = option(
        "", "run the cases in another order, by this seed, or: random; 0 as declared", Use.JOB,
        exempt="the order of cases changes no verdict, and a random one would differ every night",
        of=Values.SEED,
    )  # fmt: skip
    allow_empty: bool = option(
        False, "exit 0 also if no case was judged, in the whole run or with a series", Use.QUESTION | Use.JOB
    )
    attempts: int = option(
        1, "run a failing case again in a fresh guest, up to this many times in all", Use.QUESTION | Use.JOB
    )
    repeat: int = option(
        1,
        "run each case this many times, each in a fresh guest, and report the rate of failure",
        Use.QUESTION | Use.JOB,
    )
