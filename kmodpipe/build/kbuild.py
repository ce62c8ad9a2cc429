"""What kbuild is asked for: a module folder's targets, and variables for make."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from kmodpipe.util import paths
from kmodpipe.util.errors import UserError

_HERE = "-fdebug-prefix-map=$(SRC)/= -fdebug-prefix-map=$(OBJ)=."
"""Line numbers of files relative to the tree, wherever it is: the same objects on every machine. make knows
the folders by these names from the environment, as the recipes do."""
_LINES = "-g -gdwarf-4 -femit-struct-debug-baseonly -fno-var-tracking"
"""What a trace takes to be decoded to lines, as CONFIG_DEBUG_INFO_REDUCED has it; no type of any struct."""
_PLAIN_OBJECT = re.compile(r"[\w+.-]+(?:/[\w+.-]+)*\.o", re.ASCII)
_OBJECTS = re.compile(r"^obj-\$\(CONFIG_(\w+)\)\s*[:+]?=\s*(.*)$", re.MULTILINE)


def make_flags(config: Mapping[str, str]) -> dict[str, str]:
    """Variables for the make of a base and of its modules, beyond what the configuration says.

    A module has its line numbers whatever the base has: it is what is under test, and it takes seconds. The
    base's make gets the same, so that a cell of its source goes on from the objects that it left.

    CFLAGS_MODULE (Documentation/kbuild/kbuild.rst) reaches the objects of modules alone. KCFLAGS would reach
    scripts/mod as well, whose flags then are not the base's, and kbuild makes all host tools again. It counts
    on make's command line only, and so does what MAKEFLAGS says, with its blanks escaped.
    """
    if config.get("DEBUG_INFO") == "y":
        return {"KCFLAGS": _HERE, "KAFLAGS": _HERE}
    lines = f"CFLAGS_MODULE={_LINES} {_HERE}".replace(" ", "\\ ")
    return {"MAKEFLAGS": lines}


def module_targets(src: Path, folder: str, config: Mapping[str, str]) -> tuple[str, ...]:
    """The modules that the folder's Makefile makes under ``config``, as make targets (``fs/x/x.ko``).

    Raises UserError where there is none: then the module under test is built in, or off.
    """
    makefile = src / folder / "Makefile"
    try:
        text = makefile.read_text("utf-8", "replace").replace("\\\n", " ")
    except OSError as e:
        raise UserError(
            f"the module folder {folder} has no Makefile in this tree", where=str(makefile)
        ) from e
    # A target may hang on several symbols: one that says m makes it a module, one that says y builds it in.
    values: dict[str, set[str]] = {}
    asked: dict[str, str] = {}
    for symbol, objects in _OBJECTS.findall(text):
        for name in objects.split("#")[0].split():
            # Whatever else stands there is make's own language, or leads somewhere else: no target of ours.
            if _PLAIN_OBJECT.fullmatch(name) and paths.is_plain(name):
                asked[symbol] = config.get(symbol, "n")
                values.setdefault(f"{folder}/{name[:-2]}.ko", set()).add(asked[symbol])
    targets = tuple(target for target, found in values.items() if "m" in found and "y" not in found)
    if not targets:
        told = ", ".join(f"{s}={value}" for s, value in asked.items()) or "no obj-$(CONFIG_…)"
        raise UserError(
            f"{folder} makes no module in this configuration ({told})",
            where=str(makefile),
            hint="ask for the module's symbol as =m in a fragment of the matrix",
        )
    return targets
