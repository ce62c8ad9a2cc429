"""The reference pages of the program itself: whole, and about what is there."""

from __future__ import annotations

import re

import pytest

from kmodpipe.cli import reference_pages
from kmodpipe.cli.options import COMMANDS, options_of
from kmodpipe.cli.reference_pages import VARIABLES
from kmodpipe.util.errors import ExitCode
from tests.support import REPO

PAGES = reference_pages.pages("make them")


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_has_its_section_with_every_option(name: str) -> None:
    text = PAGES["reference/commands.md"]
    (section,) = re.findall(rf"^## {name}\n(.*?)(?=^## |^Made by)", text, re.MULTILINE | re.DOTALL)
    (common,) = re.findall(r"^## every command\n(.*?)^## ", text, re.MULTILINE | re.DOTALL)
    for one in options_of(COMMANDS[name]):
        assert re.search(rf"{one.flag}[ `]", section + common), one.flag


def test_each_exit_code_is_described() -> None:
    text = PAGES["reference/exit-codes.md"]
    assert re.findall(r"^\| (\d) \|", text, re.MULTILINE) == [str(int(code)) for code in ExitCode]
    assert "(commands.md#publish): Exit code 0: all delivered" in text


def test_each_event_of_the_log_is_described() -> None:
    written = re.findall(r'_event\("(\w+)"', (REPO / "kmodpipe/util/screen.py").read_text("utf-8"))
    assert written and set(written) == set(
        re.findall(r"^\| `(\w+)`", PAGES["reference/events.md"], re.MULTILINE)
    )


def test_the_environment_in_the_reference_is_the_one_that_is_read() -> None:
    read = set()
    for path in (REPO / "kmodpipe").rglob("*.py"):
        if path.name not in ("reference_pages.py", "first_ci.py", "first_files.py"):
            read |= set(re.findall(r"\"\$?(KMODPIPE_[A-Z_]+)\"", path.read_text("utf-8")))
    # What a driver tells its own children, its templates and a guest's cases.
    read -= {"KMODPIPE_DRIVER", "KMODPIPE_SLOW", "KMODPIPE_COLLECTS", "KMODPIPE_"}
    assert read == {one.name for one in VARIABLES if one.name.startswith("KMODPIPE_")}
