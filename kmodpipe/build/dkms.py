"""What a dkms.conf says of a module that lives outside the tree; see dkms(8). It is parsed, and not run.

Taken are the names of the modules, where they are built, how make is run, and for which kernels. What DKMS
does around a build (scripts, patches, installation) is left out, and noted where it may change the build.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import takewhile

from kmodpipe.build.dkms_syntax import UNKNOWN, Value, Variables, assignments, expanded
from kmodpipe.util import paths
from kmodpipe.util.errors import UserError
from kmodpipe.util.text import visible

_RELEASE, _KIT, _OBJ = "{release}", "{kit}", "{obj}"
# Folders of DKMS, of which only those of this module's own build exist here.
_TREE, _SOURCES = "{dkms_tree}", "{source_tree}"
_VARIABLES = {
    "kernelver": _RELEASE,
    "kernel_source_dir": _KIT,
    "kernel_config": f"{_KIT}/.config",
    "dkms_tree": _TREE,
    "source_tree": _SOURCES,
    "arch": "x86_64",
    "parallel_jobs": "1",
    "PWD": _OBJ,
}
_COMMANDS = {
    "nproc": "1",
    "getconf _NPROCESSORS_ONLN": "1",
    "uname -r": _RELEASE,
    "uname -m": "x86_64",
    "pwd": _OBJ,
}
_JOBS = re.compile(r"-j\d*|--jobs(=\d*)?")
# The same, where how many there are is computed.
_UNKNOWN_JOBS = re.compile(rf"(?<!\S)(?:-j[ \t]*|--jobs[= \t]*){UNKNOWN}(?!\S)")
_ENVIRONMENT = re.compile(r"([A-Za-z_]\w*)=(.*)", re.ASCII | re.DOTALL)
# Stands for a version that only a shell could compute: it is part of the names of DKMS's folders alone.
_VERSION = "{version}"
_SHELL = re.compile(r"[;&|<>`\n]|\$")
_FOLDER = re.compile(r"(?:M|SUBDIRS)=\{obj\}/*(.*)")
# What may change a build, but only by running something: (name, what becomes of it).
_LEFT_OUT = {
    "PRE_BUILD": "is not run before the build: let a rule of the Makefile do it",
    "PATCH": "is not applied: a series of patches can be tested by itself",
    "MAKE_MATCH": "is not used: make is run as MAKE[0] says on every kernel",
}


@dataclass(frozen=True)
class DkmsModule:
    """One module that is built."""

    name: str  # of the file, without .ko
    folder: str  # relative to the source, "." for its top


@dataclass(frozen=True)
class Dkms:
    """What a dkms.conf says of a build."""

    name: str
    version: str
    modules: tuple[DkmsModule, ...]
    arguments: tuple[str, ...] | None  # of make, as `ExternalOrder` has them; None: kbuild's M=
    environment: tuple[str, ...]  # of make: NAME=value, likewise
    folder: str  # where kbuild's Makefile is, "." for the top
    depends: tuple[str, ...]  # other packages of DKMS, which are built before
    kernel: str  # a regular expression for the releases that it is for; "" for all
    oldest: str  # the first kernel that it is for, "" for all
    newest: str  # the last one
    config: tuple[str, ...]  # CONFIG_X, or !CONFIG_X if the kernel must not have it
    notes: tuple[str, ...]  # what is left out, with file and line

    def excluded(self, release: str, config: Mapping[str, str]) -> str:
        """Return why it is not for a kernel of this release and configuration; "" if it is."""
        if self.kernel and not re.search(self.kernel, release):
            return f"dkms.conf is for kernels like {self.kernel}"
        if self.oldest and _numbers(release) < _numbers(self.oldest):
            return f"dkms.conf is for kernels from {self.oldest} on"
        if self.newest and _numbers(release) > _numbers(self.newest):
            return f"dkms.conf is for kernels up to {self.newest}"
        for word in self.config:
            symbol = word.removeprefix("!").removeprefix("CONFIG_")
            has = config.get(symbol, "n") in ("y", "m")
            if has == word.startswith("!"):
                return f"dkms.conf is for kernels {'without' if has else 'with'} CONFIG_{symbol}"
        return ""


def read(text: str, where: str = "dkms.conf", *, make: bool = True) -> Dkms:
    """Return what a dkms.conf says; without ``make`` all but how make is run.

    Raise UserError, with file and line, for what cannot be known without a shell.
    """
    stand_ins = {"PACKAGE_VERSION": _VERSION}
    found = assignments(text, where, _VARIABLES, _COMMANDS, stand_ins)
    # DKMS sets these from the file, and one may be used above its own line.
    names = {
        "module": _plain(found, "PACKAGE_NAME", where),
        "module_version": _plain(found, "PACKAGE_VERSION", where),
    }
    known = {**_VARIABLES, **names}
    found = assignments(text, where, known, _COMMANDS, stand_ins)
    name, version = names.values()
    if not name:
        raise UserError("it has no PACKAGE_NAME", where=where, hint="DKMS needs one as well, see dkms(8)")
    found, notes = _without_conditions(found, where)
    run = _make(found, where, known) if make else _Make()
    return Dkms(
        name=name,
        version="" if version == _VERSION else version,
        modules=_modules(found, where, name),
        arguments=run.arguments,
        environment=run.environment,
        folder=run.folder,
        depends=tuple(filter(None, _array(found, "BUILD_DEPENDS", where).values())),
        kernel=_kernel(found, where),
        oldest=_plain(found, "BUILD_EXCLUSIVE_KERNEL_MIN", where),
        newest=_plain(found, "BUILD_EXCLUSIVE_KERNEL_MAX", where),
        config=tuple(_plain(found, "BUILD_EXCLUSIVE_CONFIG", where).split()),
        notes=notes,
    )


def _without_conditions(found: Variables, where: str) -> tuple[Variables, tuple[str, ...]]:
    """Return the variables without those that are computed and may be left out, and a note for each."""
    notes = [
        f"{where}:{value.line}: {key} {_LEFT_OUT[key]}"
        for (key, _), value in found.items()
        if key in _LEFT_OUT and (value.text or value.unknown)
    ]
    computed = {k: v for k, v in found.items() if k[0].startswith("BUILD_EXCLUSIVE_") and v.unknown}
    notes += [
        f"{where}:{value.line}: {key} is not used: only a shell can compute it"
        for (key, _), value in computed.items()
    ]
    return {key: value for key, value in found.items() if key not in computed}, tuple(notes)


def _numbers(release: str) -> tuple[int, ...]:
    """Return the version in a release, to compare: 6.1.0-18-amd64 is (6, 1, 0)."""
    match = re.match(r"\d+(?:\.\d+)*", release)
    return tuple(int(number) for number in match[0].split(".")) if match else ()


def _kernel(found: Variables, where: str) -> str:
    """Return the regular expression for releases, "" if there is none."""
    pattern = _plain(found, "BUILD_EXCLUSIVE_KERNEL", where)
    try:
        re.compile(pattern)
        # What repeats a group may take for ever.
        why = "it repeats a group" if re.search(r"\)[*+{]", pattern) else ""
    except re.error as e:
        why = str(e)
    if why:
        line = found["BUILD_EXCLUSIVE_KERNEL", 0].line
        raise UserError(f"BUILD_EXCLUSIVE_KERNEL cannot be used: {why}", where=f"{where}:{line}")
    return pattern


def _modules(found: Variables, where: str, package: str) -> tuple[DkmsModule, ...]:
    names = _array(found, "BUILT_MODULE_NAME", where) or {0: package}
    folders = _array(found, "BUILT_MODULE_LOCATION", where)
    modules = []
    for index, name in sorted(names.items()):
        folder = folders.get(index, "").strip("/").removeprefix("./") or "."
        if not name or not paths.is_plain(name) or "/" in name:
            line = found["BUILT_MODULE_NAME", index].line
            raise UserError(f"no module can have the name {visible(name)!r}", where=f"{where}:{line}")
        if folder != "." and not paths.is_plain(folder):
            line = found["BUILT_MODULE_LOCATION", index].line
            raise UserError(f"{visible(folder)} is not below the module's source", where=f"{where}:{line}")
        modules.append(DkmsModule(name.removesuffix(".ko"), folder))
    return tuple(modules)


def _array(found: Variables, name: str, where: str) -> dict[int, str]:
    """Return the elements of an array by their index."""
    return {index: _known(value, key, where) for (key, index), value in found.items() if key == name}


def _plain(found: Variables, name: str, where: str) -> str:
    value = found.get((name, 0))
    return _known(value, name, where) if value else ""


def _known(value: Value, name: str, where: str) -> str:
    """Return the text of a value. Raise UserError if only a shell could compute it."""
    if not value.unknown:
        return value.text
    raise UserError(
        f"{name} has {visible(value.unknown[:80])}, which only a shell can compute",
        where=f"{where}:{value.line}",
        hint="dkms.conf is read, not run: write the value itself, or set it in the module's own table",
    )


# -- make ----------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class _Make:
    """How make is run: with these arguments, None for kbuild's own, in the folder that its M= names."""

    arguments: tuple[str, ...] | None = None
    environment: tuple[str, ...] = ()
    folder: str = "."


def _make(found: Variables, where: str, known: Mapping[str, str]) -> _Make:
    value = found.get(("MAKE", 0))
    if value is None:
        return _Make()
    at = f"{where}:{value.line}"
    text = _with_placeholders(_command(value, where, known), known["module"], known["module_version"])
    try:
        words = shlex.split(text)
    except ValueError as e:
        raise UserError(f"MAKE cannot be read: {e}", where=at) from None
    environment = tuple(takewhile(_ENVIRONMENT.fullmatch, words))
    words = words[len(environment) :]
    if words[:1] != ["make"]:
        raise UserError(
            f"MAKE runs {visible(words[0] if words else 'nothing')!r} and not make",
            where=at,
            hint='set make = "…" in the module\'s own table',
        )
    for word in (*environment, *words):
        if _TREE in word or _SOURCES in word:
            raise UserError(f"MAKE uses a folder of DKMS's own, which is not here: {visible(word)}", where=at)
        if _VERSION in word:
            what = f"MAKE uses PACKAGE_VERSION, which only a shell can compute: {visible(word)}"
            raise UserError(what, where=at, hint='set make = "…" in the module\'s own table')
    arguments = [word for word in words[1:] if not _JOBS.fullmatch(word)]
    rest = [word for word in arguments if word not in ("-C", _KIT, "modules")]
    if "-C" in arguments and len(rest) == 1 and (match := _FOLDER.fullmatch(rest[0])):
        return _Make(None, environment, match[1].rstrip("/") or ".")
    # As DKMS does, unless the word is quoted, or others stand before it.
    release = (f"KERNELRELEASE={_RELEASE}",) if text.startswith("make") else ()
    return _Make((*release, *arguments), environment)


def _command(value: Value, where: str, known: Mapping[str, str]) -> str:
    """Return MAKE as a line without expansions. Raise UserError if only a shell could run it."""
    # DKMS gives it to eval, so that it is expanded again.
    value = expanded(value, where, known, _COMMANDS)
    text = _UNKNOWN_JOBS.sub("", value.text)
    text = _known(replace(value, text=text, unknown=value.unknown if UNKNOWN in text else ""), "MAKE", where)
    if match := _SHELL.search(text):
        raise UserError(
            f"MAKE has {visible(match[0])!r}, which only a shell can run",
            where=f"{where}:{value.line}",
            hint='dkms.conf is read, not run: set make = "…" in the module\'s own table',
        )
    return text


def _with_placeholders(text: str, name: str, version: str) -> str:
    """Return a command with the folders of DKMS and of kernels replaced by those that there are here."""
    for folder in (f"{_TREE}/{name}/{version}/build", f"{_SOURCES}/{name}-{version}"):
        text = text.replace(folder, _OBJ)
    for folder in ("build", "source"):
        text = re.sub(rf"/lib/modules/\{{release\}}/{folder}\b", _KIT, text)
        text = re.sub(rf"{re.escape(_TREE)}/{re.escape(name)}/{re.escape(version)}/source\b", _OBJ, text)
    return text
