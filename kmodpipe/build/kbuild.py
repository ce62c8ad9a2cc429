"""Make targets and variables for kbuild."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from pathlib import Path

from kmodpipe.util import paths
from kmodpipe.util.errors import UserError, nearest
from kmodpipe.util.text import some

# File names in debugging information are relative to the tree, so that objects are the same on every machine.
# make takes SRC and OBJ from the environment, as the recipes do.
_HERE = "-fdebug-prefix-map=$(SRC)/= -fdebug-prefix-map=$(OBJ)=."
# Enough debugging information to decode a trace to lines, without types: the flags that the kernel's Makefile
# uses with CONFIG_DEBUG_INFO_REDUCED.
_LINES = "-g -gdwarf-4 -femit-struct-debug-baseonly -fno-var-tracking"
_PLAIN_OBJECT = re.compile(r"[\w+.-]+(?:/[\w+.-]+)*\.o", re.ASCII)
_PLAIN_FOLDER = re.compile(r"(?:[\w+-][\w+.-]*/)+", re.ASCII)
_OBJECTS = re.compile(r"^[ \t]*obj-\$\(CONFIG_(\w+)\)\s*[:+]?=\s*(.*)$", re.MULTILINE)
# What may name modules in a way that is not read here.
_HIDDEN = re.compile(r"^[ \t]*(?:-?s?include\b|obj-(?!y\b)|\$(?!\((?:obj|src)\)/))|[({]eval\b", re.MULTILINE)
# Modules that a message lists.
_SHOWN = 12


def make_flags(config: Mapping[str, str]) -> dict[str, str]:
    """Return the variables for the make of a base and of its modules under the configuration ``config``.

    The module under test always gets line numbers, which takes seconds, even if the base has none. The make
    of the base gets the same variables, so that a cell of the same source can reuse its objects.

    CFLAGS_MODULE (Documentation/kbuild/kbuild.rst) applies to objects of modules only. KCFLAGS would apply to
    scripts/mod as well, whose flags would then differ from the base's, and kbuild would make all host tools
    again. make accepts CFLAGS_MODULE on its command line only, which includes MAKEFLAGS with blanks escaped.
    """
    if config.get("DEBUG_INFO") == "y":
        return {"KCFLAGS": _HERE, "KAFLAGS": _HERE}
    lines = f"CFLAGS_MODULE={_LINES} {_HERE}".replace(" ", "\\ ")
    return {"MAKEFLAGS": lines}


def external_flags(config: Mapping[str, str], *, of_tree: bool) -> dict[str, str]:
    """Return the variables for the make of a module that lives outside the tree.

    ``config`` is the kernel's, ``of_tree`` whether the kit is of a tree that is at hand. File names in
    objects are relative to the module's source. KCFLAGS does no harm here: no host tool is made.
    """
    kernel = "-fdebug-prefix-map=$(KIT)=."
    if of_tree:
        kernel += " -fdebug-prefix-map=$(OBJ)/kit=. -fdebug-prefix-map=$(SRC)/="
    # The last that fits counts.
    here = f"{kernel} -ffile-prefix-map=$(OBJ)/module=. -ffile-prefix-map=$(OBJ)/module/="
    lines = "" if config.get("DEBUG_INFO") == "y" else f"{_LINES} "
    return {"KCFLAGS": f"{lines}{here}", "KAFLAGS": here}


def module_targets(
    src: Path, folder: str, config: Mapping[str, str], built: Collection[str] = ()
) -> tuple[str, ...]:
    """Return the modules that are made in the folder under ``config``, as make targets (``fs/x/x.ko``).

    The folder's Makefile names most; others it names by expressions of make, or they are in folders below.
    Those are known from ``built``, the modules that kbuild made for the base. Raises UserError if there is
    none: the module under test is then built in, or off.
    """
    makefile = makefile_of(src, folder)
    # A target may depend on several symbols: it is a module if one of them is m and none is y.
    values: dict[str, set[str]] = {}
    symbols: dict[str, str] = {}
    for symbol, words in _lines(makefile, folder):
        for name in words:
            # Other words are expressions of make, or lead out of the folder: not targets for us.
            if _PLAIN_OBJECT.fullmatch(name) and paths.is_plain(name):
                symbols[symbol] = config.get(symbol, "n")
                values.setdefault(f"{folder}/{name[:-2]}.ko", set()).add(symbols[symbol])
    targets = tuple(target for target, found in values.items() if "m" in found and "y" not in found)
    targets += tuple(t for t in sorted(built) if t.startswith(f"{folder}/") and t not in values)
    if not targets:
        found_symbols = ", ".join(f"{s}={value}" for s, value in symbols.items()) or "no obj-$(CONFIG_…)"
        raise UserError(
            f"{folder} makes no module in this configuration ({found_symbols})",
            where=str(makefile),
            hint="request the module's symbol as =m in a fragment of the matrix",
        )
    return targets


def split(module: str) -> tuple[str, str]:
    """Return the folder of a module under test, and the target that is named in it; "" for all of the folder.

    ``drivers/md`` is every module of the folder, ``drivers/md/dm-snapshot.ko`` this one.
    """
    module = module.strip("/")
    return (module.rpartition("/")[0], module) if module.endswith(".ko") else (module, "")


def same_module(one: str, other: str) -> bool:
    """Whether two targets are one module, which files may have with a dash and the kernel has with ``_``."""
    return one.replace("-", "_") == other.replace("-", "_")


def named_target(src: Path, target: str, config: Mapping[str, str], made: Collection[str]) -> str:
    """Return the named ``target`` as it is among those that its folder has ``made``. Raise UserError if it
    is not."""
    found = next((one for one in made if same_module(one, target)), None)
    if found is None:
        raise _not_made(src, target, config)
    return found


def require_named(src: Path, target: str, config: Mapping[str, str] | None = None) -> None:
    """Raise UserError if the folder's Makefile shows that the named ``target``, if any, is not made.

    With a ``config``, that it is not made as a module under it. What a Makefile says by expressions of make
    is known only once a base was built (`named_target`).
    """
    if not target:
        return
    folder, _ = split(target)
    makefile = makefile_of(src, folder)
    symbols = symbols_of(src, target)
    if not symbols and not _HIDDEN.search(_OBJECTS.sub(_plain_line, _text(makefile, folder))):
        raise _not_made(src, target, config)
    values = {config.get(symbol, "n") for symbol in symbols} if config is not None else {"m"}
    if symbols and ("y" in values or "m" not in values):
        raise _not_made(src, target, config)


def symbols_of(src: Path, target: str) -> list[str]:
    """Return the symbols that make a target, by its folder's Makefile; none if it does not show them."""
    folder, _ = split(target)
    made = made_by(src, folder)
    return [
        s for s, words in made.items() if any(same_module(f"{folder}/{w[:-2]}.ko", target) for w in words)
    ]


def _plain_line(match: re.Match[str]) -> str:
    """Return "" for a line all of whose words are objects and folders, else the line."""
    words = match[2].split("#")[0].split()
    return "" if all(_PLAIN_OBJECT.fullmatch(w) or _PLAIN_FOLDER.fullmatch(w) for w in words) else match[0]


def _not_made(src: Path, target: str, config: Mapping[str, str] | None) -> UserError:
    """Return the error for a named module that its folder does not make."""
    folder, _ = split(target)
    file = target.rpartition("/")[2]
    where = str(makefile_of(src, folder))
    if config is not None and (symbols := symbols_of(src, target)):
        values = ", ".join(f"{symbol}={config.get(symbol, 'n')}" for symbol in symbols)
        return UserError(
            f"{folder} makes no {file} in this configuration: {values}",
            where=where,
            hint="request the module's symbol as =m in a fragment of the matrix",
        )
    stems = {w[:-2] for words in made_by(src, folder).values() for w in words if w.endswith(".o")}
    known = sorted(f"{stem}.ko" for stem in stems)
    near = nearest(file.replace("_", "-"), known)
    meant = f"; did you mean {' or '.join(near)}?" if near else ""
    return UserError(
        f"{folder} makes no {file}{meant}",
        where=where,
        detail=f"its Makefile names {some(known, _SHOWN)}" if known else "",
        hint=f"--module {folder}/{near[0]}" if near else f"--module {folder}: every module of the folder",
    )


def made_by(src: Path, folder: str) -> Mapping[str, tuple[str, ...]]:
    """Return what each symbol makes in a folder by its Makefile: objects (``x.o``) and folders (``x/``).

    Raise UserError if the folder has no Makefile.
    """
    found: dict[str, tuple[str, ...]] = {}
    for symbol, words in _lines(makefile_of(src, folder), folder):
        plain = (w for w in words if _PLAIN_OBJECT.fullmatch(w) or _PLAIN_FOLDER.fullmatch(w))
        found[symbol] = tuple(dict.fromkeys((*found.get(symbol, ()), *plain)))
    return found


def makefile_of(src: Path, folder: str) -> Path:
    """Return the file that kbuild reads in a folder."""
    # A Kbuild file rather than the Makefile beside it (Documentation/kbuild/modules.rst).
    kbuild = src / folder / "Kbuild"
    return kbuild if kbuild.is_file() else src / folder / "Makefile"


def _lines(makefile: Path, folder: str) -> list[tuple[str, list[str]]]:
    """Return the symbol and the words of each ``obj-$(CONFIG_X)`` line."""
    return [
        (symbol, words.split("#")[0].split()) for symbol, words in _OBJECTS.findall(_text(makefile, folder))
    ]


def _text(makefile: Path, folder: str) -> str:
    """Return the text of a folder's Makefile with continued lines joined."""
    try:
        return makefile.read_text("utf-8", "replace").replace("\\\n", " ")
    except OSError as e:
        raise UserError(
            f"the module folder {folder} has no Makefile in this tree", where=str(makefile)
        ) from e
