"""Annotations of GitHub, and what a patch cannot make of them; read as the runner reads commands."""

from __future__ import annotations

import re

from kmodpipe.analysis.check import annotations
from kmodpipe.analysis.check.model import Finding, Level, Outcome, PatchReport, Report, SeriesReport
from tests.support.sample_check import FILE, HOSTILE, REPORT

_UNESCAPED = {"%25": "%", "%0D": "\r", "%0A": "\n", "%3A": ":", "%2C": ","}


def read(line: str) -> tuple[str, dict[str, str], str]:
    """A command as ActionCommand of the runner reads it."""
    match = re.fullmatch(r"::(\w+)(?: (.*?))?::(.*)", line)
    assert match, line
    properties = dict(part.split("=", 1) for part in (match[2] or "").split(",") if part)

    def unescaped(text: str) -> str:
        return re.sub("%(?:25|0D|0A|3A|2C)", lambda m: _UNESCAPED[m[0]], text)

    return match[1], {name: unescaped(value) for name, value in properties.items()}, unescaped(match[3])


def test_each_finding_that_fails_is_a_command_with_the_place_after_the_series() -> None:
    found = [read(line) for line in annotations.commands(REPORT)]
    assert [name for name, *_ in found] == ["error", "error", *["warning"] * 4, "notice"]
    by_text = {text: given for _, given, text in found}
    assert by_text["unused variable 'x' [-Wunused-variable]"] == {
        "file": "fs/overlayfs/super.c", "line": "15", "title": "compiler, patch 1",
    }  # fmt: skip
    assert by_text["line over 100 [LONG_LINE]"] == {
        "file": "fs/overlayfs/dir.c",
        "title": "checkpatch, patch 1",
    }
    assert found[0][1]["file"] == "patches/toy-fix/0001-a.patch"
    assert "file" not in found[1][1], "the patch is no file of the project"


def test_what_a_patch_says_is_no_command() -> None:
    lines = list(annotations.commands(REPORT))
    assert all("\n" not in line and "\r" not in line and "\x1b" not in line for line in lines)
    attack = next(read(line) for line in lines if "script" in line)
    assert attack[1]["file"] == FILE and attack[1]["line"] == "3"
    assert attack[2].startswith(HOSTILE.split("\n")[0] + "\n::error file=x::forged")
    assert attack[2].endswith("%0A [X]"), "what looks escaped is text"


def test_github_shows_no_more_than_fifty() -> None:
    many = tuple(Finding(Level.NOTE, str(n), "", "a.c", 1, 1) for n in range(99))
    worst = Finding(Level.ERROR, "worst")
    patch = PatchReport(1, "p", "s", (Outcome("sparse", many), Outcome("tags", (worst,))))
    lines = list(annotations.commands(Report("r", "t", (SeriesReport("s", "", (patch,)),))))
    assert len(lines) == 50 and lines[0].endswith("::worst")


def test_commands_are_stopped_around_the_rest() -> None:
    assert annotations.stop("abc") == ("::stop-commands::abc", "::abc::")
