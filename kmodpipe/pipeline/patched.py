"""Apply the series of a run to the sources of its kernels, and say where one does not apply."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from kmodpipe import series
from kmodpipe.build.kbuild import split
from kmodpipe.build.sharing import OwnTree, Subject
from kmodpipe.kconfig import Variant
from kmodpipe.kconfig.matrix import CONTROL_VARIANT
from kmodpipe.pipeline.module_folder import require_module
from kmodpipe.pipeline.run_spec import RunSpec
from kmodpipe.series import Series
from kmodpipe.source import Tree
from kmodpipe.source.kernels import KernelSource
from kmodpipe.util import costs
from kmodpipe.util.errors import UserError
from kmodpipe.util.screen import Screen


def control_subject(tree: KernelSource, own: OwnTree | None = None) -> Subject:
    """Return the subject of the pristine tree, or of a module's own source, which every series is compared
    with."""
    return Subject(CONTROL_VARIANT, None, tree.path, own)


def subject_of(
    variant: Variant, one: Series, patched: Path, tree: KernelSource, own: OwnTree | None
) -> Subject:
    """Return the subject of a series, which made ``patched``: of the tree, or of a module's own source."""
    if own is None:
        return Subject(variant, one, patched)
    made = OwnTree(patched, f"{own.identity} with {one.digest}", own.folder)
    return Subject(variant, one, tree.path, made)


@dataclass(frozen=True)
class Patched:
    """The sources of one kernel: the control's, and those of each series that has a cell and applies."""

    subjects: tuple[Subject, ...]
    # By the variant's name.
    refused: Mapping[str, UserError] = field(default_factory=dict)

    @property
    def reasons(self) -> Mapping[str, str]:
        """Why a series does not apply, by the variant's name."""
        return {name: error.sentence for name, error in self.refused.items()}


@costs.step(costs.Part.APPLY)
def patch_trees(
    parts: Mapping[str, RunSpec],
    trees: Mapping[str, KernelSource],
    module: Tree | None,
    cache: Path,
    screen: Screen,
) -> Mapping[str, Patched]:
    """Apply each series to each kernel's tree where it has a cell, or to the ``module`` of its own source,
    unless that is in the cache.

    In a run with several kernels, a series that does not apply to one of them, or does not declare to
    (``applies-to``), is left out there. Raise UserError for one that applies to none.
    """
    found = {name: _patched(part, trees[name], module, cache, screen) for name, part in parts.items()}
    if not is_whole(parts):
        return found
    applied = {subject.variant.name for one in found.values() for subject in one.subjects}
    for name, error in [(name, e) for one in found.values() for name, e in one.refused.items()]:
        if name not in applied:
            reasons = [one.reasons[name] for one in found.values() if name in one.refused]
            raise UserError(
                f"series {name} applies to none of the kernels: {', '.join(t.name for t in trees.values())}",
                detail="\n".join(reasons),
                hint=error.hint,
            )
    return found


def is_whole(parts: Mapping[str, RunSpec]) -> bool:
    """Return whether these are all kernels of the run, and not those of a job."""
    return all(len(part.trees) == len(parts) for part in parts.values())


def own_tree(spec: RunSpec, module: Tree | None) -> OwnTree | None:
    """Return the control's source of a module that is in no tree, from what `fetch_module` returned."""
    return OwnTree(module.path, module.identity, spec.own.folder) if spec.own and module else None


def _patched(spec: RunSpec, tree: KernelSource, module: Tree | None, cache: Path, screen: Screen) -> Patched:
    own = own_tree(spec, module)
    subjects, refused = [control_subject(tree, own)], dict[str, UserError]()
    for one, cells in spec.series_on(tree):
        if reason := spec.left_out(one, tree):
            refused[one.name] = UserError(reason, hint="applies-to of series.toml says so")
            continue
        patchable = module or tree
        if not isinstance(patchable, Tree):
            refused[one.name] = UserError(
                patchable.no_patches,
                hint="test the series on a tree: --kernel debian-6.12",
            )
            continue
        if warning := series.mismatch(one, tree):
            screen.warn(warning)
        try:
            patched = series.apply(one, patchable, cache, screen)
        except series.DoesNotApply as e:
            if len(spec.trees) == 1:
                raise
            refused[one.name] = e
        else:
            subjects.append(subject_of(cells[0].variant, one, patched, tree, own))
    for error in refused.values():
        screen.say(f"not tested on {tree.name}: {error.sentence}")
    return Patched(tuple(subjects), refused)


def without_module(
    module: str, patched: Mapping[str, Patched], trees: Mapping[str, KernelSource], *, whole: bool
) -> Mapping[str, Mapping[str, str]]:
    """Return why no variant can be built on a kernel whose sources lack the module, by kernel.

    Raise UserError if no kernel of a ``whole`` run has it.
    """
    found: dict[str, UserError] = {}
    for name, one in patched.items():
        if not isinstance(trees[name], Tree):
            continue
        try:
            require_module(module, [subject.src for subject in one.subjects], trees[name].name)
        except UserError as e:
            found[name] = e
    if whole and len(found) == len(patched):
        raise next(iter(found.values()))
    reason = f"the tree has no module {module if split(module)[1] else f'in {module}'}"
    return {
        name: {**dict.fromkeys((s.variant.name for s in one.subjects), reason), **one.reasons}
        for name, one in patched.items()
        if name in found
    }
