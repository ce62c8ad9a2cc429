"""Definitions of cases: the reproducers, and the expected outcome of each in every kind of cell. Pure data.

    images/guest/cases/<folder>/case.toml     one or more [[case]] tables
    images/guest/cases/<folder>/run.sh        their scripts, beside it

A case declares the outcomes that a user wants to see (``goal``), and rules (``expect``) with the outcome that
is expected in a kind of cell, and why. The first rule whose ``when`` matches the cell applies. Rules of the
file come after a case's own; they hold for cases that have the text of ``mentions`` in an argument. A case
with settings has no rules: its expected observations are computed (`precedence`). `verdict` judges.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from kmodpipe.judge import case_files
from kmodpipe.judge.case_files import CaseFile
from kmodpipe.judge.case_toml import CaseTable, CaseToml, ExpectTable, SharedExpectTable, tuples
from kmodpipe.judge.precedence import Setting
from kmodpipe.judge.script import Needs, is_symbol, needs_of
from kmodpipe.kconfig.matrix import CONTROL_DESIGN, PLAIN
from kmodpipe.util import paths, toml, version
from kmodpipe.util.digest import digest_of
from kmodpipe.util.errors import Report, UserError, raised, unknown_name
from kmodpipe.vm.guest_root import GuestRoot

# The goal and the good outcome of a script that is judged by its exit status alone.
EXIT_GOAL = "exit-0"
_SCRIPT_TIMEOUT_S = 60
_NO_DESIGN = "the series has no design, which says what this setting is like"
_MAX_SCRIPT_MIB = 16
# The condition of a rule on the kernel's version.
_KERNEL = "kernel"


# -- the records --------------------------------------------------------------------------------------
@dataclass(frozen=True)
class CellContext:
    """The cell that a case runs in."""

    cell_id: str
    variant: str
    design: str  # empty for a series without one
    choice: Mapping[str, str] = field(default_factory=dict)  # value by axis of the matrix: {"INDEX": "y"}
    config: Mapping[str, str] = field(default_factory=dict)  # the final .config, symbols without CONFIG_
    flavour: str = ""  # empty for plain cells
    partial: bool = False  # only the first patches of the series are applied
    guest: GuestRoot | None = None  # what its guests have; None: not known yet
    kernel: str = ""  # the version that it boots: 6.1.55


@dataclass(frozen=True)
class Expectation:
    """A rule: the expected outcome of a case in one kind of cell, and why. The fields are as in
    `ExpectTable`."""

    outcome: str
    reason: str
    when: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    defect: bool = False
    kmsg: tuple[str, ...] = ()
    no_kmsg: tuple[str, ...] = ()
    observe: Mapping[str, str] = field(default_factory=dict)
    lacks: bool = False

    def matches(self, cell: CellContext) -> bool:
        """Return whether the cell is of the rule's kind.

        An axis that the cell does not have counts as ``n``, no flavour as ``plain``.
        """
        own = {"variant": cell.variant, "design": cell.design, "flavour": cell.flavour or PLAIN}
        return all(
            version.fits_any(cell.kernel, allowed)
            if key == _KERNEL
            else (own[key] if key in own else cell.choice.get(key, "n")) in allowed
            for key, allowed in self.when.items()
        )


@dataclass(frozen=True)
class Case:
    """One reproducer. Fields without a comment are as in `CaseTable`."""

    id: str
    summary: str
    # The script on this machine.
    path: Path
    args: tuple[str, ...] = ()
    timeout_s: int = 30
    goals: tuple[str, ...] = ()
    # Symbols that the kernel has to have, without CONFIG_.
    needs: tuple[str, ...] = ()
    # Programs that the guest has to have, by name or absolute path.
    programs: tuple[str, ...] = ()
    # Those that the script names as well.
    tools: tuple[str, ...] = ()
    # What stands beside the script in the guest.
    files: tuple[CaseFile, ...] = ()
    # What the script says itself that it needs.
    script: Needs = field(default_factory=Needs)
    expect: tuple[Expectation, ...] = ()
    # A script given by its path, without rules: exit status 0 is pass, 4 skip, any other fail.
    by_exit: bool = False
    proves: tuple[str, ...] = ()
    settings: tuple[Setting, ...] = ()
    alone: bool = False
    watch: tuple[str, ...] = ()

    @property
    def goal(self) -> str:
        """The goals as text."""
        return " or ".join(self.goals)

    @property
    def unruled(self) -> bool:
        """Whether no rule says what to expect of it anywhere, beyond its goal."""
        return not (self.expect or self.settings)

    def expectation(self, cell: CellContext) -> Expectation | None:
        """Return the first rule that matches, or None."""
        return next((rule for rule in self.expect if rule.matches(cell)), None)

    def expectations(self, cell: CellContext) -> tuple[Expectation, ...]:
        """Return the rules of which one has to hold.

        That is the rule for the cell. With only some patches of a series applied, it is the rule for the
        whole series or the one for the tree without it, as the behaviour may still be either. A series
        without a design has none.
        """
        if not cell.design:
            return ()
        designs = (cell.design, CONTROL_DESIGN) if cell.partial else (cell.design,)
        found = [self.expectation(replace(cell, design=design)) for design in designs]
        return tuple(rule for rule in found if rule)

    def setting(self, design: str) -> Setting | None:
        """Return the layered setting of a design, or None if it has none."""
        return next((s for s in self.settings if design in s.designs), None)

    def arguments(self, cell: CellContext) -> tuple[str, ...]:
        """Return the script's arguments in this cell."""
        setting = self.setting(cell.design)
        return (*self.args, *(setting.arguments if setting else ()))

    def not_here(self, cell: CellContext) -> str:
        """Return why the case cannot run in this cell; empty if it can."""
        if unmet := self.unmet(cell.config):
            return f"needs {', '.join(f'CONFIG_{s}' for s in unmet)}, which this kernel does not have"
        if self.settings and cell.partial:
            return "between two patches a setting need not be whole"
        if self.settings and not self.setting(cell.design):
            return f"the design {cell.design} has no such setting" if cell.design else _NO_DESIGN
        return ""

    def unmet(self, config: Mapping[str, str]) -> tuple[str, ...]:
        """Return the needed symbols that the kernel has neither built in nor as a module."""
        needed = dict.fromkeys((*self.needs, *self.script.symbols))
        return tuple(symbol for symbol in needed if config.get(symbol) not in ("y", "m"))

    def lacking(self, cell: CellContext) -> tuple[str, ...]:
        """Return the programs and libraries that it needs and the cell's guests do not have."""
        return self.missing_from(cell.guest) if cell.guest else ()

    def missing_from(self, root: GuestRoot) -> tuple[str, ...]:
        """Return the programs and libraries that it needs and a guest's root file system does not have."""
        own = [name for name in self.programs if not root.has_program(name)]
        return tuple(dict.fromkeys((*self.script.missing_from(root), *own)))

    @property
    def beyond_the_shell(self) -> bool:
        """Whether it needs more than a shell, which each guest has."""
        return bool(self.programs) or self.script.beyond_the_shell

    def digest(self, lib: bytes = b"") -> str:
        """Return the SHA-256 (hex) of everything that determines what the case does in a guest.

        ``lib`` is the cases' shell library. Rules are not included, as they need no new run.
        """
        return digest_of(
            {
                "id": self.id,
                "args": [list(self.args), [list(s.arguments) for s in self.settings]],
                "timeout_s": self.timeout_s,
                "script": self.path.read_bytes().hex(),
                "lib": lib.hex(),
                # Cases without them keep the digest that they had.
                **({"files": [file.digest for file in self.files]} if self.files else {}),
                **({"tools": list(self.tools)} if self.tools else {}),
            }
        )


# -- case.toml ----------------------------------------------------------------------------------------
def _expectation(table: ExpectTable) -> Expectation:
    return Expectation(
        table.outcome, table.reason, tuples(table.when), table.defect,
        tuple(table.kmsg), tuple(table.no_kmsg), dict(table.observe), table.lacks,
    )  # fmt: skip


def _case(table: CaseTable, file: Path, number: int, shared: Iterable[SharedExpectTable]) -> Case:
    """Return the case of the table with this number in a case.toml, whose own rules are *shared*."""
    path = file.parent / table.script
    if not path.is_file():
        what = f"case {table.id!r}: there is no script {table.script!r} beside case.toml"
        raise UserError(what, where=toml.place(file, ("case", number, "script")))
    script = needs_of(path)
    brought = [name for name in table.files if name != table.script]
    symbols = [name.removeprefix("CONFIG_") for name in table.needs if is_symbol(name)]
    rules = [*table.expect, *(t for t in shared if any(t.mentions in arg for arg in table.args))]
    return Case(
        id=table.id, summary=table.summary, path=path, args=tuple(table.args), timeout_s=table.timeout_s,
        goals=tuple(table.goal), needs=tuple(symbols),
        programs=tuple(name for name in table.needs if not is_symbol(name)),
        tools=tuple(dict.fromkeys((*table.tools, *script.tools))),
        files=case_files.find(brought, file.parent, lambda: toml.place(file, ("case", number, "files"))),
        expect=tuple(map(_expectation, rules)),
        proves=tuple(table.proves), settings=tuple(t.record() for t in table.setting), alone=table.alone,
        script=script,
        watch=tuple(table.watch),
    )  # fmt: skip


def load(folder: Path, report: Report = raised) -> tuple[Case, ...]:
    """Return the cases of ``folder/*/case.toml``, by folder and then in the order of the file.

    Scripts in ``folder`` itself are cases as well, judged by their exit status. Report a UserError for a
    malformed file, naming file and field, and for an id that is used twice.
    """
    found: dict[str, tuple[Case, Path]] = {}
    for case, file in _each(folder, report):
        if case.id in found:
            where = f"{found[case.id][1]} and {file}"
            report(UserError(f"case id {case.id!r} is used twice", where=where))
        found[case.id] = (case, file)
    if not found:
        hint = "a case is a script NAME.sh, or a folder with a case.toml and a script"
        report(UserError("no case is defined", where=str(folder), hint=hint))
    return tuple(case for case, _ in found.values())


def _each(folder: Path, report: Report) -> Iterator[tuple[Case, Path]]:
    """Yield each case with the file that defines it."""
    for file in sorted(folder.glob("*/case.toml")):
        try:
            found = toml.load(file, CaseToml, "case.toml")
        except UserError as e:
            report(e)
            continue
        for number, table in enumerate(found.case):
            try:
                yield _case(table, file, number, found.expect), file
            except UserError as e:
                report(e)
    for path in sorted(folder.glob("*.sh")):
        try:
            yield from_script(path), path
        except UserError as e:
            report(e)


# -- choosing -----------------------------------------------------------------------------------------
def select(cases: Iterable[Case], names: Iterable[str]) -> tuple[Case, ...]:
    """Return the cases with these names or patterns, in their declared order; all if there are none.

    Raises UserError for a name or pattern that no case has.
    """
    known = {case.id: case for case in cases}
    patterns = tuple(names)
    wanted: set[str] = set()
    for pattern in patterns:
        hits = [pattern] if pattern in known else fnmatch.filter(known, pattern)
        if not hits:
            hint = "patterns with * work, in quotes; a script of your own is given by its path"
            raise unknown_name("case", pattern, known, hint=hint)
        wanted.update(hits)
    return tuple(case for case in known.values() if not patterns or case.id in wanted)


def designs(cases: Iterable[Case]) -> frozenset[str]:
    """Return the designs that cases have expectations for; the control's is none of them."""
    cases = tuple(cases)
    found = {design for case in cases for rule in case.expect for design in rule.when.get("design", ())}
    found |= {design for case in cases for setting in case.settings for design in setting.designs}
    return frozenset(found - {CONTROL_DESIGN})


def check_axes(cases: Iterable[Case], axes: Collection[str], flavours: Collection[str] = ()) -> None:
    """Raise the first of the `misfits`."""
    for error in misfits(cases, axes, flavours):
        raise error


def misfits(
    cases: Iterable[Case], axes: Collection[str], flavours: Collection[str] = ()
) -> Iterator[UserError]:
    """Yield an error for each ``when`` with an axis or a flavour that the matrix does not have, or with what
    is no version of a kernel.

    A misspelt axis would count as ``n`` and match without notice, a misspelt flavour would never match.
    """
    known = {"variant", "design", "flavour", _KERNEL, *axes}
    for case in cases:
        file = case.path.parent / "case.toml"
        # The default of a setting is Kconfig's, so only axes decide it.
        conditions = [(rule.when, known) for rule in case.expect]
        conditions += [(d.when, set(axes)) for setting in case.settings for d in setting.defaults]
        for when, keys in conditions:
            for key in when:
                if key not in keys:
                    where = f"{toml.place_within(file, 'when', key)}, case {case.id}"
                    yield unknown_name("axis", key, keys, where=where)
            for condition in when.get(_KERNEL, ()):
                if not version.is_condition(condition):
                    yield UserError(
                        f"no version of the kernel: {condition!r}",
                        where=f"{toml.place_within(file, 'when', _KERNEL, condition)}, case {case.id}",
                        hint=f"write it as {version.FORMS}",
                    )
            for name in when.get("flavour", ()):
                if name not in (PLAIN, *flavours):
                    where = f"{toml.place_within(file, 'when', 'flavour', name)}, case {case.id}"
                    yield unknown_name("flavour", name, (PLAIN, *flavours), where=where)


def from_script(path: Path) -> Case:
    """Return the case for ``--case FILE``, a script that is judged by its exit status.

    Raises UserError if it is not a readable script or program of at most 16 MiB.
    """
    if paths.exists(path) and not paths.is_file(path):  # a FIFO would block the read below
        raise UserError("the case script is not a file", where=str(path))
    try:
        size = path.stat().st_size
    except OSError as e:
        raise UserError(f"the case script cannot be read: {e.strerror}", where=str(path)) from None
    if size > _MAX_SCRIPT_MIB * 1024 * 1024:
        raise UserError(f"the case script is larger than {_MAX_SCRIPT_MIB} MiB", where=str(path))
    script = needs_of(path)
    slug = re.sub(r"[^a-z0-9._-]+", "-", path.stem.lower()).strip("-._")[:72] or "script"
    return Case(
        id=slug,
        summary=f"the script {path.name}: exit 0 pass, 4 skip, anything else fail",
        path=path,
        timeout_s=_SCRIPT_TIMEOUT_S,
        goals=(EXIT_GOAL,),
        script=script,
        tools=script.tools,
        by_exit=True,
    )
