"""Find modules in a distribution's folder, with what they need, in the order in which they are loaded.

The folder is one of ``/lib/modules``. Packages bring it without what depmod(8) makes (modules.dep); so the
modules themselves are read, those that are needed and no others.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from kmodpipe.build import module_file, module_order
from kmodpipe.util.errors import KernelFailure, unknown_name

# The folders that win over the kernel's own, as for depmod.
_FIRST = ("updates", "extra")


def load_order(
    built: Iterable[Path], modules: Path, work: Path, *, also: Iterable[str] = ()
) -> tuple[Path, ...]:
    """Return plain modules in the order in which they are loaded: those that were built, and all they need.

    What they need of the folder ``modules`` is unpacked into ``work``; ``also`` names more of its modules.
    What is built into the kernel needs no file. Soft dependencies (modprobe.d(5)) that are not there are left
    out. Raise UserError for a name in ``also`` that the kernel does not have, KernelFailure for a module that
    needs one which the kernel does not have, or for modules that need each other.
    """
    found = {module_file.name_of(path): path for path in built}
    there, within = _index(modules), builtin(modules)
    for name in (one.replace("-", "_") for one in also):
        if name not in there and name not in within and name not in found:
            raise unknown_name("module", name, there, where=str(modules))
        if name in there:
            found.setdefault(name, module_file.unpack(there[name], work))
    graph: dict[str, list[str]] = {}
    left = list(found)
    while left:
        name = left.pop()
        says = module_file.info(found[name])
        graph[name] = []
        for needed in says.needs:
            real = needed
            if needed in within:
                continue
            if needed not in found and needed not in there:
                if needed in says.depends:
                    raise KernelFailure(
                        f"module {name} needs {needed}, which this kernel does not have",
                        where=str(found[name]),
                        hint="build it with the module, or leave the kernel out",
                    )
                real = _with_alias(needed, there, work)
            if real and real not in found:
                found[real] = module_file.unpack(there[real], work)
                left.append(real)
            graph[name] += [real] if real else []
    return module_order.by_needs(found, graph)


def builtin(modules: Path) -> frozenset[str]:
    """Return the names and aliases of the modules that are built into the kernel.

    They are in its files ``modules.builtin`` and, since Linux 5.2, ``modules.builtin.modinfo``.
    """
    names = {module_file.name_of(line) for line in _text(modules / "modules.builtin").splitlines()}
    for row in _text(modules / "modules.builtin.modinfo").split("\0"):
        key, _, alias = row.partition("=")
        if key.endswith(".alias"):
            names.add(alias.replace("-", "_"))
    return frozenset(names)


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8", "replace")
    except FileNotFoundError:
        return ""


def _index(modules: Path) -> Mapping[str, Path]:
    """Return the files of all modules, by name."""
    files = sorted(path for path in modules.rglob("*.ko*") if path.is_file() and not path.is_symlink())
    files.sort(key=lambda path: path.relative_to(modules).parts[0] in _FIRST)
    return {name: path for path in files if (name := module_file.name_of(path))}


def _with_alias(alias: str, there: Mapping[str, Path], work: Path) -> str:
    """Return the module that has this alias, empty if none is found: crypto_crc32c is one of crc32c_generic.

    Reading all modules takes minutes if they are compressed: only those are whose name begins with it. A
    generic one runs on every processor.
    """
    start = alias.removeprefix("crypto_")
    names = [name for name in there if name.startswith(start)]
    for name in sorted(names, key=lambda name: ("generic" not in name, name)):
        says = module_file.info(module_file.unpack(there[name], work))
        if alias in (one.replace("-", "_") for one in says.aliases):
            return name
    return ""
