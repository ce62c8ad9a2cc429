"""Rules for reports of the kernel that are known to be harmless, read from a file of the project.

    [[benign]]
    kind = "WARNING"
    title = "WARNING in foo_remount"
    reason = "…"

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
    """A rule: the report that it lets off, and why. What is optional narrows it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Kind
    """The kind of report, as results.json has it."""
    title: str
    """The whole title, as results.json has it: there are no patterns."""
    reason: str = Field(min_length=10)
    """Why it is no defect of the module. Every result shows it."""
    functions: tuple[str, ...] = ()
    """The trace has all of these functions, in this order, the innermost first."""
    module: str = ""
    """The trace has a frame of this module."""
    flavours: tuple[str, ...] = ()
    """Only in these flavours; `plain` stands for cells without one. Without it, in all."""
    versions: tuple[str, ...] = ()
    """Only on these kernels; `5.10` includes `5.10.223`. Without it, on all."""
    says: tuple[Annotated[str, Field(min_length=3)], ...] = ()
    """The report has all of these texts."""

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


class BenignToml(BaseModel):
    """Reports of the kernel that are known to be harmless. One that a rule fits stays in every result, with
    the reason, and fails no case. Never let off is one that led to a panic, or does not tell its
    function."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    benign: tuple[Benign, ...] = ()
    """The rules; the first one that fits gives the reason."""


def load(path: Path) -> tuple[Benign, ...]:
    """Return the rules of a file. Raise UserError naming the rule and the field that is wrong."""
    hint = "each [[benign]] needs kind, title and reason; kinds are " + ", ".join(sorted(Kind))
    return toml.load(path, BenignToml, "the file of harmless reports", hint=hint).benign


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
