"""Write the files that a user begins with: a matrix, a fragment and a case, with comments that teach."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kmodpipe.kconfig.suggest import AxisIdea
from kmodpipe.pipeline.first_config import BASE, GUEST, FirstConfig
from kmodpipe.util import paths
from kmodpipe.util.errors import UserError

_COLUMN = 56
_MOST_SHOWN = 20


@dataclass(frozen=True)
class Files:
    """Where the files of a first configuration are."""

    matrix: Path
    fragment: Path
    case: Path

    @classmethod
    def of(cls, folder: Path, name: str) -> Files:
        """Return the files of the module ``name`` in a folder."""
        return cls(folder / "matrix.toml", folder / f"{name}.config", folder / "load.sh")

    @property
    def every(self) -> tuple[Path, ...]:
        """All of them."""
        return (self.matrix, self.fragment, self.case)

    def require_new(self) -> None:
        """Raise UserError if one of them exists: they are the user's to edit."""
        folder = self.matrix.parent
        if paths.exists(folder) and not paths.is_dir(folder):
            raise UserError("the folder for the files is not a folder", where=str(folder), hint="--to FOLDER")
        there = [path for path in self.every if paths.exists(path) or path.is_symlink()]
        if there:
            names = " and ".join(path.name for path in there)
            raise UserError(
                f"{names} would be overwritten",
                where=str(folder),
                hint=f"--to another folder; what is there is run by: invoke test --matrix {self.matrix} …",
            )

    def write(self, found: FirstConfig) -> None:
        """Write all files. Raise UserError as `require_new` does, and if the folder cannot be written to."""
        self.require_new()
        texts = (matrix_text(found, self.fragment.name), fragment_text(found), case_text(found))
        try:
            self.matrix.parent.mkdir(parents=True, exist_ok=True)
            for path, text in zip(self.every, texts, strict=True):
                with path.open("x", encoding="utf-8") as file:
                    file.write(text)
            self.case.chmod(0o755)
        except OSError as e:
            raise UserError(
                f"the files cannot be written: {e.strerror or e}",
                where=str(self.matrix.parent),
                hint="--to another folder",
            ) from e


# -- the matrix -------------------------------------------------------------------------------------------
def matrix_text(found: FirstConfig, fragment: str) -> str:
    """Return a matrix file for a configuration; ``fragment`` is the name of its own fragment."""
    fragments = ", ".join(_quoted(name) for name in (GUEST, *found.suggestion.fragments, fragment))
    lines = [
        f"# The matrix of {found.module}, as `try` found it in {found.tree}. It is yours to edit.",
        "# What all cells have in common, and the axes: the cells are every combination of their values.",
        "",
        _noted(f"base = {_quoted(BASE)}", "the make target that the fragments are laid on"),
        _noted(f"module = {_quoted(found.module)}", "under test: a folder, or one .ko of it"),
        "# Later ones win. Those that are not beside this file come with kmodpipe (its folder kconfigs).",
        f"fragments = [{fragments}]",
    ]
    for axis in found.suggestion.axes:
        lines += ["", *_axis(axis)]
    if not found.suggestion.axes and not found.suggestion.more:
        lines += [
            "",
            "# The module has no bool symbol that fits an axis. This would be one; each doubles the cells:",
            "# [axes.NAME]",
            '# symbol = "SYMBOL"',
            '# values = ["y", "n"]',
        ]
    if found.suggestion.more:
        lines += [
            "",
            "# More symbols of the module. Each axis doubles the cells; --sample 2 runs as few as have every",
            "# pair of values.",
        ]
    for axis in found.suggestion.more[:_MOST_SHOWN]:
        reason = [f"# {_plain(axis.reason)}:"] if axis.reason else []
        lines += ["#", *reason, *(f"# {line}" for line in _axis(axis))]
    lines += [
        "",
        "# Another guest for the same cells, for --flavour kasan: a kernel that looks for memory errors.",
        "# [flavours.kasan]",
        '# summary = "KASAN, UBSAN, and checks of lists"',
        '# fragments = ["kasan.config"]',
        "# memory_mib = 512",
        "# slow = 4",
    ]
    if {"pci.config", "virtio.config", "usb.config"} & set(found.suggestion.fragments):
        lines += ['# A guest has no device but for a flavour that asks: devices = ["virtio-net"], say.']
    return "\n".join(lines) + "\n"


def _axis(axis: AxisIdea) -> list[str]:
    return [
        _noted(f"[axes.{axis.name}]", f'"{axis.title}"'),
        f"symbol = {_quoted(axis.symbol)}",
        'values = ["y", "n"]',
    ]


def _quoted(text: str) -> str:
    return f'"{text}"'


def _noted(line: str, note: str) -> str:
    return f"{line:<{_COLUMN}}# {_plain(note)}".rstrip()


def _plain(text: str) -> str:
    """Return one line of a text of the tree's, without control characters."""
    return re.sub(r"[\x00-\x1f\x7f]+", " ", text)


# -- the fragment -----------------------------------------------------------------------------------------
def fragment_text(found: FirstConfig) -> str:
    """Return the fragment: the modules, and what they depend on."""
    modules = set(found.suggestion.modules)
    lines = [
        f"# What {found.module} needs beyond {_named(found)}.",
        "# A symbol of the modules that cells are to differ by belongs into matrix.toml, not here.",
    ]
    first = [need for need in found.suggestion.needs if need.symbol in modules]
    rest = [need for need in found.suggestion.needs if need.symbol not in modules]
    for need in (*first, *rest):
        value = "# CONFIG_{} is not set" if need.value == "n" else f"CONFIG_{{}}={need.value}"
        only_here = need.symbol in found.only_here
        lines += [
            "",
            f"# {_plain(need.why)}",
            ("# if known: " if only_here else "") + value.format(need.symbol),
        ]
    for symbol, reason in found.suggestion.dropped.items():
        lines += ["", f"# {symbol} is left out: {_plain(reason)}"]
    return "\n".join(lines) + "\n"


def _named(found: FirstConfig) -> str:
    names = (GUEST, *found.suggestion.fragments)
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


# -- the case ---------------------------------------------------------------------------------------------
_CASE = """\
#!/bin/sh
# A first case for @FOLDER@.
# The modules are loaded, show what they bring, and can be unloaded and loaded again. It is yours to edit.
# Exit status 0 is a pass, 4 a skip, anything else a failure, and so is every report of the kernel meanwhile.
# `observe` writes evidence; docs/cases.md says what else there is.
. "$KMODPIPE_LIB"

modules="@NAMES@"

fail() {
    echo "$*" >&2
    exit 1
}

is_loaded() {
    grep -q "^$1 " /proc/modules
}

# file_of MODULE: the .ko, which stands with the others in one folder; its name may have - for _.
file_of() {
    for file in "${KMODPIPE_MODULE%/*}"/*.ko; do
        name=${file##*/}
        [ "$(echo "${name%.ko}" | tr - _)" = "$1" ] && echo "$file"
    done
}

# What a module can bring, a line each.
interfaces() {
    {
        sed 's/.*\\t/filesystem /' /proc/filesystems
        sed -n 's/^ *[0-9]* \\([^ ]*\\)$/device \\1/p' /proc/devices
        sed 's/^ *[0-9]* /misc /' /proc/misc
        sed -n 's/^driver *: /algorithm /p' /proc/crypto
        sed -n 's/^\\([^ ]*\\) .*/protocol \\1/p' /proc/net/protocols
        for at in block class class/net bus; do
            ls "/sys/$at" | sed "s,^,$at/,"
        done
        ls -d /sys/bus/*/drivers/* | sed 's,^/sys/,,'
    } 2>/dev/null | sort -u
}

# --- loaded, by the guest's agent
for module in $modules; do
    is_loaded "$module" || fail "$module is not in /proc/modules"
done
interfaces > with
@CHECKS@
# --- unloaded, those that need others first
unloaded=
for round in $modules; do
    for module in $modules; do
        if is_loaded "$module" && rmmod "$module" 2> rmmod.txt; then
            unloaded="$module $unloaded"
        fi
    done
done
for module in $modules; do
    if is_loaded "$module"; then
        rmmod "$module" 2> rmmod.txt
        observe "stays_$module" "$(cat rmmod.txt); $(grep "^$module " /proc/modules)"
    fi
done
[ -n "$unloaded" ] || exit 0
observe unloaded "$unloaded"
interfaces > without
observe brings "$(grep -vxFf without with | tr '\\n' ' ' | cut -c 1-400)"

# --- and loaded again
for module in $unloaded; do
    insmod "$(file_of "$module")" || fail "$module cannot be loaded again"
    is_loaded "$module" || fail "$module is not in /proc/modules after it was loaded again"
done
interfaces > again
cmp -s with again || fail "not what was there before: $(cat with again | sort | uniq -u | tr '\\n' ' ')"
"""
_CHECK_FILESYSTEM = """\
# MODULE_ALIAS_FS in the sources; of several, some may need a symbol that is off.
grep -qwE '@NAMES@' /proc/filesystems || fail "none of @NAMES@ is in /proc/filesystems"
"""
_CHECK_ALGORITHM = """\
# MODULE_ALIAS_CRYPTO in the sources.
grep -qE ': (@NAMES@)$' /proc/crypto || fail "none of @NAMES@ is in /proc/crypto"
"""


def case_text(found: FirstConfig) -> str:
    """Return the first case: a script."""
    checks = "".join(
        text.replace("@NAMES@", _alternatives(names))
        for text, names in (
            (_CHECK_FILESYSTEM, found.filesystems),
            (_CHECK_ALGORITHM, found.algorithms),
        )
        if names
    )
    return (
        _CASE.replace("@FOLDER@", found.module)
        .replace("@NAMES@", " ".join(found.names))
        .replace("@CHECKS@", f"{checks}" if checks else "")
    )


def _alternatives(names: Sequence[str]) -> str:
    # Names are words of the tree's, and part of a regular expression in quotes.
    return "|".join(re.sub(r"[^\w-]", ".", name) for name in names)
