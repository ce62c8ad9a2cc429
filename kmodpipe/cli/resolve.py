"""Resolve the names of a command line: from options to a `RunSpec`."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

from kmodpipe import kconfig, series
from kmodpipe.build.kbuild import split
from kmodpipe.cli.invocation import Invocation
from kmodpipe.cli.options import BuildOptions, Common, RunOptions, Use, command_line, question, taken_from
from kmodpipe.kconfig import Flavour, Matrix, Variant
from kmodpipe.kconfig.matrix import CONTROL_VARIANT
from kmodpipe.kconfig.own_source import OwnSource, is_own
from kmodpipe.pipeline import cell_choice, own_module, packed_module
from kmodpipe.pipeline.cell_choice import Choice, choose_cells
from kmodpipe.pipeline.config import Project
from kmodpipe.pipeline.module_folder import changed_folders, changes, only_module
from kmodpipe.pipeline.own_module import ModuleUnderTest
from kmodpipe.pipeline.run_spec import RunSpec
from kmodpipe.series import Series
from kmodpipe.source import kernels
from kmodpipe.source.kernels import KernelSpec
from kmodpipe.source.packaged import PackagedKernelSpec
from kmodpipe.util import costs, process, toml
from kmodpipe.util.cell_id import kernel_name
from kmodpipe.util.errors import UserError, unknown_name
from kmodpipe.util.screen import Screen
from kmodpipe.vm import devices

_MOST_SAMPLED = 6
RUNTIMES = ("docker", "host")


@costs.step(costs.Part.PROJECT)
def resolve(
    values: Common,
    call: Invocation,
    *,
    cases_too: bool = False,
    skip_illegal: bool = False,
    compared: bool = True,
    flavours: Mapping[str, Flavour] = MappingProxyType({}),
) -> RunSpec:
    """Return the run that the options describe; nothing is fetched or started.

    *cases_too* loads the cases as well; with *skip_illegal* a chosen cell that the tree rules out is
    skipped, as jobs of a plan need it. *flavours* are known where the matrix has none of their names. Raise
    UserError for a name that does not exist, with similar ones.
    """
    given = taken_from(RunOptions, values)
    project = call.project()
    if given.jobs < 0:
        raise UserError("--jobs is a number from 1 up", hint="0 means one a processor")
    if given.runtime not in RUNTIMES:
        raise unknown_name("runtime", given.runtime, RUNTIMES)
    with _declared("matrix", project, given.matrix):
        matrix = kconfig.load_matrix(Path(given.matrix).absolute() if given.matrix else project.matrix)
    matrix = replace(matrix, flavours={**flavours, **matrix.flavours})
    matrix = matrix.asking(entry for one in given.config for entry in kconfig.requests_of(one))
    own = _own_source(given.module, matrix)
    names = [name for name in given.series or (() if own else project.series) if name != "none"]
    with _declared("series", project, given.series):
        whole = tuple(series.load(name, project.patches) for name in names)
    under_test = None
    if own:
        home = Path() if given.module else matrix.path.parent
        aside = [path.resolve() for path in (project.file, project.cases)]
        if own.source.endswith(packed_module.SUFFIX):
            under_test = packed_module.load(home / own.source)
        else:
            under_test, whole = own_module.find(own, home, whole, none="none" in given.series, aside=aside)
        _name_control(under_test, whole, call.screen)
    loaded = tuple(p for one in whole for p in (*one.prefixes(), one)) if given.each_patch else whole
    for notice in dict.fromkeys(f"series {s.name}: {text}" for s in whole for text in s.notices):
        call.screen.warn(notice)
    if cases_too:
        # Imported here: what is only built needs nothing of what judges.
        from kmodpipe.cli import chosen_cases

        declared = chosen_cases.declared(project, given)
        loaded = tuple(chosen_cases.with_design(s, given.design, declared, call.screen) for s in loaded)
    variants = [CONTROL_VARIANT, *(Variant(s.name, s.design, s.axes, s.partial) for s in loaded)]
    if doubled := _doubled(variant.name for variant in variants):
        raise UserError(f"two variants with one name: {', '.join(doubled)}")
    trees = _trees(given.kernels, matrix, project)
    cells_have = [tree.name for tree in trees] if len(trees) > 1 else [""]
    given_ones = zip(cells_have, trees, strict=True)
    configured = frozenset(name for name, one in given_ones if isinstance(one, PackagedKernelSpec))
    matrix = replace(matrix, configured=configured)
    for flavour in matrix.flavours.values():
        if flavour.devices:
            devices.parse(flavour.devices, toml.place(matrix.path, ("flavours", flavour.name, "devices")))
    choice = choose_cells(matrix, variants, given.flavour, given.cell, cells_have)
    choice = _with_controls(choice, matrix, given) if compared else choice
    module = under_test.name if under_test else ""
    if not under_test and isinstance(values, BuildOptions):
        module = only_module(whole, matrix, given.module)
    for one in () if under_test else whole:
        if given.module and changed_folders(one) and not changes(one, split(module)[0]):
            call.screen.warn(f"series {one.name} changes nothing of {module}, which --module names")
    spec = RunSpec(
        project=project,
        trees=trees,
        matrix=matrix,
        module=module,
        series=loaded,
        cells=choice.cells,
        chosen=choice.chosen,
        companions=choice.companions,
        out=Path(given.out).absolute(),
        own=under_test,
        jobs=given.jobs or project.jobs,
        runtime=given.runtime,
        share=given.share or project.share,
        head=given.head,
        sample=_sample(given.sample),
        skip_illegal=skip_illegal,
        shuffle=_seed(given.shuffle),
        allow_empty=given.allow_empty,
        command=call.command,
        repeat_command=process.pasteable([call.program, "test", *command_line(given, Use.REPEAT)]),
        series_arguments={s.name: name for s, name in zip(whole, names, strict=False) if name != s.name},
        question=question(given),
    )
    return chosen_cases.with_cases(spec, declared, given) if cases_too else spec


def require_on(*, detach: bool) -> None:
    """Raise UserError for --detach without a cluster."""
    if detach:
        raise UserError("--detach is for a run on a cluster", hint="--on tcp://HOST:PORT")


def _own_source(option: str, matrix: Matrix) -> OwnSource | None:
    """Return the module's own source, of the option or else the matrix; None for a folder of the tree."""
    if option:
        if not is_own(option):
            return None
        kept = matrix.module if isinstance(matrix.module, OwnSource) else OwnSource(source=option)
        return kept.model_copy(update={"source": option})
    return matrix.module if isinstance(matrix.module, OwnSource) else None


def _name_control(module: ModuleUnderTest, change: Sequence[Series], screen: Screen) -> None:
    """Say what the module is compared with."""
    if change:
        screen.say(f"module {module.name}: compared with {module.control}")
    else:
        screen.say(f"module {module.name}: {module.control}; there is no change, so nothing is compared")


def tree_arguments(given: Sequence[str], matrix: Matrix, project: Project) -> tuple[str, ...]:
    """Return what names the kernels to test: the command line, else the matrix, else the project.

    Raise UserError if none does.
    """
    found = tuple(given) or matrix.kernels or tuple(filter(None, (project.tree,)))
    if not found:
        raise UserError(
            "no kernel to test on is given",
            where=str(matrix.path),
            hint='--kernel debian-12, or kernels = ["debian-12"] of the matrix',
        )
    return found


def _trees(given: Sequence[str], matrix: Matrix, project: Project) -> tuple[KernelSpec, ...]:
    """Return the kernels to test. Several get names for cells.

    Raise UserError for a tree that does not exist, and for two of one name.
    """
    in_matrix = matrix.kernels and not given
    with _named_in(matrix.path, "kernels") if in_matrix else _declared("tree", project, given):
        names = tree_arguments(given, matrix, project)
        found = tuple(kernels.resolve(one, project.kernels) for one in names)
    if len(found) == 1:
        return found
    named = tuple(one.model_copy(update={"name": kernel_name(one.name)}) for one in found)
    if doubled := _doubled(one.name for one in named):
        hint = "give each a name of its own: --tree NAME=TREE"
        raise UserError(f"two kernels with one name: {', '.join(doubled)}", hint=hint)
    return named


@contextmanager
def _declared(field: str, project: Project, given: object) -> Iterator[None]:
    """Name the line of the project's file in an error about a default, which was not *given* as an option."""
    if given:
        yield
    else:
        with _named_in(project.file, *project.at, field):
            yield


@contextmanager
def _named_in(file: Path, *field: str) -> Iterator[None]:
    """Name the line of a file's field in an error about what it names."""
    try:
        yield
    except UserError as e:
        line = toml.place(file, field)
        where = f"{e.where}, named in {line}" if e.where else line
        raise UserError(e.what, where=where, detail=e.detail, hint=e.hint) from None


def _with_controls(choice: Choice, matrix: Matrix, given: RunOptions) -> Choice:
    """Return the choice with what its cells are compared with, or without it as requested."""
    if given.no_control:
        return cell_choice.without_controls(choice)
    return cell_choice.with_controls(choice, matrix, CONTROL_VARIANT)


def _doubled(names: Iterable[str]) -> list[str]:
    found = list(names)
    return sorted({name for name in found if found.count(name) > 1})


def _sample(strength: int) -> int:
    """Return the strength that --sample means. Raise UserError."""
    if not 0 <= strength <= _MOST_SAMPLED:
        raise UserError(
            f"--sample takes a number from 1 to {_MOST_SAMPLED}, not {strength}",
            hint="--sample 2: every pair of axes' values that a legal cell has",
        )
    return strength


def _seed(shuffle: str) -> int:
    """Return the seed that --shuffle means; 0 keeps the declared order. Raise UserError."""
    if shuffle == "random":
        return secrets.randbelow(999_999) + 1
    if not re.fullmatch(r"[0-9]{0,9}", shuffle, re.ASCII):
        raise UserError(
            f"--shuffle takes a number or the word random, not {shuffle!r}", hint="0 keeps the declared order"
        )
    return int(shuffle or "0")
