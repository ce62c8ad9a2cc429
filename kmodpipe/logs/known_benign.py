"""Reports that are known to be harmless: which, and why. Data, in a file of the project.

    [[benign]]
    kind = "WARNING"                             # as results.json has it
    title = "WARNING in foo_remount"             # the whole title
    reason = "…"                                 # why it says nothing about the module; every result shows it
    functions = ["foo_remount", "do_remount"]    # optional: all of these are in the trace, in this order
    module = "foo"                               # optional: the trace passes through it
    flavours = ["lockdep"]                       # optional: in these only ("plain" for those without one)
    versions = ["5.10"]                          # optional: of these kernels only, 5.10.223 among them

A report that is let off stays in the results, with the reason. One that the guest did not survive is never
let off.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, field_validator

from kmodpipe.kconfig.matrix import PLAIN
from kmodpipe.logs.kernel_log import Kind, Report, plain_symbol
from kmodpipe.util import toml


class Benign(BaseModel):
    """One rule. Kind, title and reason are required: a rule that lets off more than one kind of report at one
    place is no rule."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Kind
    title: str
    reason: str = Field(min_length=10)
    functions: tuple[str, ...] = ()
    module: str = ""
    flavours: tuple[str, ...] = ()
    versions: tuple[str, ...] = ()

    @field_validator("title", "reason")
    @classmethod
    def _says_something(cls, text: str) -> str:
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
        """Whether this rule speaks of ``report``, in a cell of this flavour on a kernel of this version."""
        trace = iter(plain_symbol(name) for name in (report.function, *report.call_trace))
        return (
            (self.kind, self.title) == (report.kind, report.title)
            and not report.consequence
            and all(name in trace for name in self.functions)
            and (not self.module or self.module in report.modules)
            and (not self.flavours or (flavour or PLAIN) in self.flavours)
            and (not self.versions or any(_is_of(version, one) for one in self.versions))
        )


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    benign: tuple[Benign, ...] = ()


def load(path: Path) -> tuple[Benign, ...]:
    """The rules of a file. Raises UserError naming the rule and the field that is wrong."""
    hint = "each [[benign]] needs kind, title and reason; kinds are " + ", ".join(sorted(Kind))
    return toml.load(path, _File, "the file of harmless reports", hint=hint).benign


@dataclass(frozen=True)
class KnownBenign:
    """The rules of a run, and the version of its kernel, of which some of them speak."""

    rules: tuple[Benign, ...] = ()
    version: str = ""

    def reason_for(self, report: Report, flavour: str = "") -> str:
        """Why this report is let off; empty where it is not."""
        return next((rule.reason for rule in self.rules if rule.fits(report, flavour, self.version)), "")


def _is_of(version: str, wanted: str) -> bool:
    return version == wanted or version.startswith((f"{wanted}.", f"{wanted}-"))
