"""Which modules a module needs, and in which order they are loaded."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

from kmodpipe.build import module_file
from kmodpipe.build.elf import module_name
from kmodpipe.build.recipes import MODULES
from kmodpipe.cache.store import Artifact
from kmodpipe.util.errors import KernelFailure, unknown_name

# A line of `parse`; anything else in the file is not ours.
_LINE = re.compile(r"((?:[\w+-][\w.+-]*/)*[\w+-][\w.+-]*\.ko) ([\w,-]*)", re.ASCII)


@dataclass(frozen=True)
class Known:
    """A module that a kernel's configuration has."""

    target: str  # for make: fs/fuse/fuse.ko
    needs: tuple[str, ...]  # names of modules: those of ``depends`` and of soft dependencies before it


def parse(text: str) -> Mapping[str, Known]:
    """Return the modules of a base by name, from its file ``modules`` (images/builder/base.sh)."""
    found = {}
    for line in text.splitlines():
        if match := _LINE.fullmatch(line):
            names = (name.replace("-", "_") for name in match[2].split(",") if name)
            found[module_name(match[1])] = Known(match[1], tuple(names))
    return found


def of_base(base: Artifact) -> Mapping[str, Known]:
    """Return the modules that a base's configuration has, by name."""
    return parse((base.path / "out" / MODULES).read_text("utf-8", "replace"))


def with_needed(targets: Sequence[str], known: Mapping[str, Known]) -> tuple[str, ...]:
    """Return the targets and, behind them, those of all modules that they need."""
    found = dict.fromkeys(targets)
    left = [module_name(target) for target in targets]
    while left:
        for name in known[left[0]].needs if left[0] in known else ():
            if name in known and known[name].target not in found:
                found[known[name].target] = None
                left.append(name)
        left.pop(0)
    return tuple(found)


def lacking(modules: Iterable[Path], known: Mapping[str, Known]) -> tuple[str, ...]:
    """Return the targets that built modules need, by what they say themselves, and that are not among them.

    A change can make a module need another one than that of the base did.
    """
    by_name = {module_name(path): path for path in modules}
    if known.keys() <= by_name.keys():
        return ()
    names = dict.fromkeys(name for path in by_name.values() for name in module_file.info(path).needs)
    return tuple(known[name].target for name in names if name in known and name not in by_name)


def needed_by(name: str, modules: Iterable[Path]) -> frozenset[Path]:
    """Return the built module of that name and those that it needs to be loaded."""
    by_name = {module_name(path): path for path in modules}
    found: set[Path] = set()
    left = [name]
    while left:
        path = by_name.get(left.pop())
        if path and path not in found:
            found.add(path)
            left += module_file.info(path).needs
    return frozenset(found)


def parameters(wanted: Mapping[str, str], modules: Iterable[Path]) -> Mapping[str, str]:
    """Return the parameters that built modules are loaded with, by the names of their files.

    ``wanted`` has them by module. Raise UserError for those of a module that is not among these.
    """
    known = {module_name(path): path.name for path in modules}
    for name in wanted:
        if name not in known:
            hint = "parameters of a matrix or a flavour are for modules that its cells load"
            raise unknown_name("module", name, known, where="parameters", hint=hint)
    return {known[name]: text for name, text in wanted.items()}


def in_order(modules: Iterable[Path]) -> tuple[Path, ...]:
    """Return built modules in an order in which they can be loaded: each after those that it needs.

    Among modules that do not need one another, the order is that of their names. Raises KernelFailure for
    modules that need each other, and InfraError for a file that is no module.
    """
    by_name = {module_name(path): path for path in sorted(modules)}
    needs = {name: module_file.info(path).needs for name, path in by_name.items()}
    return by_needs(by_name, needs)


def by_needs(by_name: Mapping[str, Path], needs: Mapping[str, Sequence[str]]) -> tuple[Path, ...]:
    """Return modules as `in_order` does, of what each needs; what is not here is ignored."""
    graph = {name: [needed for needed in needs[name] if needed in by_name] for name in by_name}
    sorter = TopologicalSorter(graph)
    try:
        sorter.prepare()
    except CycleError as e:
        raise KernelFailure(f"modules need each other: {' → '.join(e.args[1])}") from None
    found: list[Path] = []
    while sorter.is_active():
        ready = sorted(sorter.get_ready())
        found += [by_name[name] for name in ready]
        sorter.done(*ready)
    return tuple(found)
