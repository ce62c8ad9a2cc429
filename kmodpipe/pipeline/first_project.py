"""Begin a project in a repository of one's own: the files to edit, by what is there (`first_look`).

    a module     kmodpipe.toml for the stock kernels of Debian, a first case
    a tree       a kernel: kmodpipe.toml with the tree as it is
    nothing      a place for series of patches: kmodpipe.toml with a tree of Debian's, and patches/

Only files that do not exist yet are written.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from kmodpipe.pipeline import first_ci
from kmodpipe.pipeline.config import OWN_FILE
from kmodpipe.pipeline.first_look import FoundModule, Look
from kmodpipe.source.build_products import CASES
from kmodpipe.util import paths
from kmodpipe.util.errors import UserError
from kmodpipe.util.text import some

Kind = Literal["module", "tree", "empty"]

KERNELS: Mapping[Kind, tuple[str, ...]] = {
    "module": ("debian-11", "debian-12", "debian-13"),
    "tree": (),
    "empty": ("debian-6.12",),
}
"""The kernels that a project of each kind begins with."""


@dataclass(frozen=True)
class Choice:
    """What a project is to be: what was found, or what was answered."""

    kind: Kind
    # Which module, if there are some.
    module: FoundModule | None = None
    kernels: tuple[str, ...] = ()
    cases: str = CASES
    # Of `first_ci.CI`.
    ci: str = first_ci.NONE


@dataclass(frozen=True)
class Proposal:
    """What a project begins with."""

    # What was found, for people.
    found: str
    # The texts of the files, by their path in the repository.
    files: Mapping[str, str]
    # The commands to run next, without the program's name, each with what it does.
    next: Mapping[str, str]
    # What the user has to know or to do.
    notes: tuple[str, ...] = field(default=())


def require_new(root: Path) -> None:
    """Raise UserError if the folder has a project already."""
    if paths.exists(root / OWN_FILE):
        raise UserError(f"{OWN_FILE} is there already", where=str(root), hint="edit it, or remove it first")
    try:
        text = (root / "pyproject.toml").read_text("utf-8", "replace")
    except OSError:
        return
    if "[tool.kmodpipe]" in text:
        where = str(root / "pyproject.toml")
        raise UserError("there is a project already: [tool.kmodpipe]", where=where, hint="edit it")


def choose(seen: Look, ci: str = "") -> Choice:
    """Return what is taken without a question; ``ci`` is the CI that is wanted, if not the one found."""
    kind: Kind = "tree" if seen.is_tree else "module" if seen.modules else "empty"
    module = seen.modules[0] if seen.modules else None
    return Choice(kind, module, KERNELS[kind], ci=ci or seen.ci or first_ci.NONE)


def propose(root: Path, seen: Look, choice: Choice) -> Proposal:
    """Return what to write into a repository."""
    if choice.module:
        made = _of_module(root, choice.module, choice)
        others = [one.folder for one in seen.modules if one != choice.module]
        notes = [choice.module.note] if choice.module.note else []
        if others:
            notes.append(
                f"modules are built in {some(others, 4)} as well: --module ./{others[0]} tests that one, "
                f"and with kmodpipe init there it is a project of its own"
            )
    else:
        of = _of_tree if choice.kind == "tree" else _of_series
        made, notes = of(root, choice), []
    files = dict(made.files)
    if choice.ci != first_ci.NONE:
        name, text = first_ci.file(choice.ci, taken=paths.exists(root / first_ci.GITLAB))
        files[name] = text
        if choice.ci == "gitlab" and name != first_ci.GITLAB:
            notes.append(f"{first_ci.GITLAB} is yours: add this line to it: {first_ci.included()}")
    return Proposal(made.found, files, made.next, tuple(notes))


def write(root: Path, proposal: Proposal) -> tuple[str, ...]:
    """Write the files; return the names of those that were there, which are left as they are."""
    left = []
    for name, text in proposal.files.items():
        path = root / name
        if paths.exists(path):
            left.append(name)
            continue
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            if name.endswith(".sh"):
                path.chmod(0o755)
        except OSError as e:
            raise UserError(f"{name} cannot be written: {e.strerror or e}", where=str(root)) from e
    return tuple(left)


# -- what is written ------------------------------------------------------------------------------------
_KASAN = """\
[matrix.flavours.kasan]
summary = "KASAN, UBSAN, and checks of lists"
fragments = ["kasan.config"]
memory_mib = 512
slow = 4
"""
_CASE = """\
#!/bin/sh -e
# The modules are loaded before a case runs. Exit status 0 is a pass, 4 a skip, anything else a failure.
# A warning or a crash of the kernel fails the case as well.
"""


def _quoted(value: str | Sequence[str]) -> str:
    """Return a word, or an array of words, as TOML has it."""
    return json.dumps(value, ensure_ascii=False)


def _of_module(root: Path, module: FoundModule, choice: Choice) -> Proposal:
    source = "." if module.folder == "." else f"./{module.folder}"
    make = f", make = {_quoted(module.make)}" if module.make else ""
    text = f"""\
# What kmodpipe tests here: the module of this repository, on the kernels that it has to work on.
# `kmodpipe test` builds it against each, boots each, loads the module, and runs the cases.
cases = {_quoted(choice.cases)}

[matrix]
# Built as `make -C KERNEL M=…` does it. Of its own Makefile: make = "modules KDIR={{kit}}".
# It is compared with the default branch; another ref: control = "v1.0".
module = {{ source = {_quoted(source)}{make} }}
# Kernels as Debian ships them; there is debian-unstable, too. Kernels that are built: debian-6.12 and others.
kernels = {_quoted(choice.kernels)}
# For kernels that kmodpipe builds.
fragments = ["guest.config"]

# A kernel that looks for memory errors, of those that are built:
#   kmodpipe test --kernel debian-6.12 --flavour kasan
{_KASAN}"""
    files = {OWN_FILE: text}
    if not _has_cases(root / choice.cases):
        files[f"{choice.cases}/load.sh"] = _first_case(module.names)
    where = "this folder" if module.folder == "." else module.folder
    return Proposal(
        f"{some(module.names, 3) or 'a module that make names'}, built in {where}",
        files,
        {
            "setup": "what this machine lacks, Docker Engine and QEMU; once",
            "plan": "what would be done",
            "test": "build it on each kernel, boot, and run the cases",
        },
    )


def _has_cases(folder: Path) -> bool:
    return any(folder.glob("*.sh")) or any(folder.glob("*/case.toml"))


def _first_case(names: Sequence[str]) -> str:
    if not names:
        # O is a module that is in no tree.
        return f"{_CASE}grep '(.*O.*)' /proc/modules\n"
    loaded = " ".join(name.replace("-", "_") for name in names)
    return f"""{_CASE}\
for name in {loaded}; do
    [ -d "/sys/module/$name" ] || {{ echo "$name is not loaded"; exit 1; }}
done
"""


def _of_tree(root: Path, choice: Choice) -> Proposal:
    text = f"""\
# What kmodpipe tests here: modules of this kernel tree. One is chosen with --module or by a series.
tree = "here"
{_matrix(choice)}
[trees.here]
summary = "the tree in this folder"
path = "."
"""
    return Proposal("a kernel tree", {OWN_FILE: text, **_any_case(root, choice)}, _TRY)


def _matrix(choice: Choice) -> str:
    return f"""\
cases = {_quoted(choice.cases)}

[matrix]
# The module is the one whose folder a series changes; or module = "drivers/block/zram".
fragments = ["guest.config"]

# A kernel that looks for memory errors: kmodpipe test --flavour kasan
{_KASAN}"""


def _any_case(root: Path, choice: Choice) -> Mapping[str, str]:
    """Return the first case of whatever module: that it was loaded was seen before."""
    return {} if _has_cases(root / choice.cases) else {f"{choice.cases}/load.sh": _CASE}


def _of_series(root: Path, choice: Choice) -> Proposal:
    text = f"""\
# What kmodpipe tests here: series of patches, in folders below patches/, on a kernel of Debian's.
tree = {_quoted(choice.kernels[0])}
{_matrix(choice)}"""
    about = (
        "Each folder here is a series of patches: its mails or patches, as git format-patch writes them.\n"
    )
    more = {"test --series NAME": "a series below patches/"}
    return Proposal(
        "no module and no kernel: a place for series of patches",
        {OWN_FILE: text, **_any_case(root, choice), "patches/README": about},
        {**_TRY, **more},
    )


_TRY: Mapping[str, str] = {
    "setup": "what this machine lacks, Docker Engine and QEMU; once",
    "try --module drivers/block/zram": "begin with a module: its symbols, a first case, and a run",
}
