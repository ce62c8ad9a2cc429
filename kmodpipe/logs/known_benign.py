"""Rules for reports of the kernel that are known to be harmless, read from a file of the project.

    [[benign]]
    kind = "WARNING"                             # as results.json has it
    title = "WARNING in foo_remount"             # the whole title
    reason = "…"                                 # why it is no defect of the module; every result shows it
    functions = ["foo_remount", "do_remount"]    # optional: the trace has all of these, in this order
    module = "foo"                               # optional: the trace has a frame of this module
    flavours = ["lockdep"]                       # optional: only in these flavours; "plain" is none
    versions = ["5.10"]                          # optional: only on these kernels; 5.10 includes 5.10.223
    says = ["too many inodes"]                   # optional: the report has all of these texts

A benign report stays in the results, with the reason. Never benign are a report that led to a panic, and one
whose function the log does not tell: its title is that of different defects.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, field_validator

from kmodpipe.kconfig.matrix import PLAIN
from kmodpipe.logs.kernel_log import Kind, Report, plain_symbol
from kmodpipe.util import toml


class Benign(BaseModel):
    """One rule. Kind, title and reason are required, so that a rule covers one report at one place."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Kind
    title: str
    reason: str = Field(min_length=10)
    functions: tuple[str, ...] = ()
    module: str = ""
    flavours: tuple[str, ...] = ()
    versions: tuple[str, ...] = ()
    says: tuple[Annotated[str, Field(min_length=3)], ...] = ()

    @field_validator("title", "reason")
    @classmethod
    def _has_words(cls, text: str) -> str:
        if len(text.strip()) < 5 or not any(c.isalpha() for c in text):
            raise ValueError("it says nothing")
        return text

    @field_validator("title")
    @classmethod
    def _is_whole(cls, title: str) -> str:
        if any(c in title for c in "*?\\") or title.strip() in set(Kind):
            raise ValueError("a title is given whole, as results.json has it: there are no patterns")
        return title

    def fits(self, report: Report, flavour: str, version: str) -> bool:
        """Return whether this rule covers ``report`` in a cell of this flavour and kernel version."""
        trace = iter(plain_symbol(name) for name in (report.function, *report.call_trace))
        return (
            (self.kind, self.title) == (report.kind, report.title)
            and not report.consequence
            and not report.vague
            and all(any(text in line for line in report.lines) for text in self.says)
            and all(name in trace for name in self.functions)
            and (not self.module or self.module in report.modules)
            and (not self.flavours or (flavour or PLAIN) in self.flavours)
            and (not self.versions or any(_is_of(version, one) for one in self.versions))
        )


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    benign: tuple[Benign, ...] = ()


def load(path: Path) -> tuple[Benign, ...]:
    """Return the rules of a file. Raise UserError naming the rule and the field that is wrong."""
    hint = "each [[benign]] needs kind, title and reason; kinds are " + ", ".join(sorted(Kind))
    return toml.load(path, _File, "the file of harmless reports", hint=hint).benign


@dataclass(frozen=True)
class KnownBenign:
    """The rules of a run, and the version of the kernel that they are applied to."""

    rules: tuple[Benign, ...] = ()
    version: str = ""

    def reason_for(self, report: Report, flavour: str = "") -> str:
        """Return why a report is benign; empty if it is not."""
        return next((rule.reason for rule in self.rules if rule.fits(report, flavour, self.version)), "")


def _is_of(version: str, wanted: str) -> bool:
    return version == wanted or version.startswith((f"{wanted}.", f"{wanted}-"))
