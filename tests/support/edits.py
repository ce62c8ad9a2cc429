"""Edits of overlayfs at random: of all kinds that what is taken of another build may be wrong after."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from difflib import unified_diff
from pathlib import Path

FOLDER = "fs/overlayfs"
HEADER = f"{FOLDER}/overlayfs.h"  # which each of its files includes


class Edited:
    """The folder's files as they are edited, beside those of the tree. Every state compiles."""

    def __init__(self, tree: Path, symbols: Sequence[str], seed: int) -> None:
        """``symbols`` are names without OVERLAY_FS_ in which the cells differ."""
        self._random = random.Random(seed)
        self._symbols = symbols
        found = [path for path in (tree / FOLDER).iterdir() if path.suffix in (".c", ".h")]
        found += [tree / FOLDER / name for name in ("Makefile", "Kconfig")]
        self._before = {f"{FOLDER}/{path.name}": path.read_text() for path in found}
        self._now = dict(self._before)
        self._sources = sorted(name for name in self._before if name.endswith(".c"))
        self._number = 0

    def edit(self) -> str:
        """Make one edit, and return which."""
        kinds = [
            self._function, self._symbol, self._pasted, self._header_symbol, self._value, self._value,
            self._moved, self._warning, self._header_warning, self._new_header, self._whether_there,
            self._flag, self._object_flag, self._symbol_flag, self._kconfig, self._back, self._back,
        ]  # fmt: skip
        kind = self._random.choice(kinds)
        return f"{kind.__name__.strip('_')} {kind()}".replace(f"{FOLDER}/", "")

    def patch(self) -> str:
        """Return what makes the files of those in the tree."""
        text = ""
        for name in sorted(self._now):
            before, now = self._before.get(name, ""), self._now[name]
            lines = (one.splitlines(keepends=True) for one in (before, now))
            old = f"a/{name}" if before else "/dev/null"
            text += "".join(unified_diff(*lines, old, f"b/{name}"))
        return text

    # -- what is edited -------------------------------------------------------------------------------
    def _name(self) -> str:
        self._number += 1
        return f"ovl_edit_{self._number}"

    def _some(self) -> str:
        return self._random.choice(self._sources)

    def _one_symbol(self) -> str:
        return f"CONFIG_OVERLAY_FS_{self._random.choice(self._symbols)}"

    def _returns(self, source: str, expression: str, *, above: str = "") -> str:
        """Append a function, so that the value of an expression is in the object."""
        name = self._name()
        self._now[source] += f"\n{above}int {name}(void);\nint {name}(void)\n{{\n\treturn {expression};\n}}\n"
        return source

    def _macro(self) -> str:
        """Define a value that may be changed later, and return the name."""
        name = f"{self._name()}_value"
        self._now[HEADER] += f"\n#define {name} {self._random.randrange(1000)}\n"
        return name

    # -- the edits: what a file has more --------------------------------------------------------------
    def _function(self) -> str:
        return self._returns(self._some(), str(self._random.randrange(1000)))

    def _symbol(self) -> str:
        return self._returns(self._some(), f"IS_ENABLED({self._one_symbol()})")

    def _pasted(self) -> str:
        """Read a symbol whose name no file holds."""
        joined, begin, end = self._name(), *self._one_symbol().rsplit("_", 1)
        return self._returns(
            self._some(), f"IS_ENABLED({joined}({begin}, _{end}))", above=f"#define {joined}(a, b) a##b\n"
        )

    def _header_symbol(self) -> str:
        name = self._name()
        self._now[HEADER] += (
            f"\n#ifdef {self._one_symbol()}\n#define {name}_is 1\n#else\n#define {name}_is 2\n#endif\n"
        )
        return self._returns(self._some(), f"{name}_is")

    def _value(self) -> str:
        """Change a macro of a header, or have one."""
        found = [
            (name, match) for name, text in self._now.items() if name.endswith(".h")
            for match in re.finditer(r"^#define ovl_edit_\d+_value (\d+)$", text, re.MULTILINE)
        ]  # fmt: skip
        if not found:
            return self._returns(self._some(), self._macro())
        name, match = self._random.choice(found)
        text, value = self._now[name], self._random.randrange(1000, 10_000)
        self._now[name] = f"{text[: match.start(1)]}{value}{text[match.end(1) :]}"
        return name

    def _moved(self) -> str:
        """Have a line of a file stand elsewhere, whose number is in the object."""
        source = self._some()
        self._now[source] = "\n" * self._random.randrange(1, 5) + self._now[source]
        return self._returns(source, "__LINE__")

    def _warning(self) -> str:
        source, name = self._some(), self._name()
        self._now[source] += f"\nstatic int {name}(void)\n{{\n\treturn 0;\n}}\n"
        return source

    def _header_warning(self) -> str:
        name = self._name()
        warned = f"static int {name}(void)\n{{\n\treturn 0;\n}}\n"
        self._now[HEADER] += f"\n#ifdef {self._one_symbol()}\n{warned}#endif\n"
        return HEADER

    def _new_header(self) -> str:
        name, source = self._name(), self._some()
        self._now[f"{FOLDER}/{name}.h"] = f"#define {name}_value {self._random.randrange(1000)}\n"
        return self._returns(source, f"{name}_value", above=f'#include "{name}.h"\n')

    def _whether_there(self) -> str:
        """Ask whether a header is there, and have it there or not."""
        there = f"{FOLDER}/ovl_there.h"
        if there not in self._now:
            self._now[there] = "/* nothing */\n"
        else:
            del self._now[there]
        self._asked('__has_include("ovl_there.h")')
        return there

    def _asked(self, condition: str) -> None:
        """Have the preprocessor's answer in an object."""
        name = self._name()
        self._returns(
            self._some(), f"{name}_is",
            above=f"#if {condition}\n#define {name}_is 1\n#else\n#define {name}_is 2\n#endif\n",
        )  # fmt: skip

    def _flag(self) -> str:
        name = self._name()
        self._now[f"{FOLDER}/Makefile"] += f"\nccflags-y += -D{name}_is={self._random.randrange(1000)}\n"
        return self._returns(self._some(), f"{name}_is")

    def _object_flag(self) -> str:
        name, source = self._name(), self._some()
        words = f"CFLAGS_{Path(source).stem}.o += -D{name}_is={self._random.randrange(1000)}"
        self._now[f"{FOLDER}/Makefile"] += f"\n{words}\n"
        return self._returns(source, f"{name}_is")

    def _symbol_flag(self) -> str:
        name = self._name()
        self._now[f"{FOLDER}/Makefile"] += f"\nccflags-$({self._one_symbol()}) += -D{name}_is\n"
        self._asked(f"defined {name}_is")
        return "Makefile"

    def _kconfig(self) -> str:
        symbol = f"OVERLAY_FS_{self._name().upper()}"
        self._now[f"{FOLDER}/Kconfig"] += (
            f'\nconfig {symbol}\n\tbool "Edited"\n\tdepends on OVERLAY_FS\n'
            f"\tdefault {self._random.choice('yn')}\n"
        )
        return self._returns(self._some(), f"IS_ENABLED(CONFIG_{symbol})")

    def _back(self) -> str:
        """Have a file as it is in the tree, but the last that is not: an empty series is none."""
        edited = [name for name in self._sources if self._now[name] != self._before[name]]
        if len(edited) < 2:
            return self._function()
        source = self._random.choice(edited)
        self._now[source] = self._before[source]
        return source
