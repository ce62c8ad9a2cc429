"""The one door to the screen: what is shown, what is escaped, what is logged."""

from __future__ import annotations

import errno
import io
import json
import os
import time
from pathlib import Path

import pytest
from rich.text import Text

from kmodpipe.util.errors import InfraError
from kmodpipe.util.screen import Mode, Screen


def screen(mode: Mode) -> tuple[Screen, io.StringIO]:
    out = io.StringIO()
    return Screen(mode, out=out), out


def work(on: Screen) -> None:
    on.say("said")
    on.warn("careful")
    with on.step("compile") as step:
        step.update("super.o", done=1, total=2)
    on.print("asked for")
    on.error(InfraError("it broke", hint="mend it"))


def test_plain_mode_tells_the_start_and_the_end_of_a_step() -> None:
    on, out = screen(Mode.PLAIN)
    work(on)
    lines = out.getvalue().splitlines()
    assert lines[:3] == ["said", "warning: careful", "  → compile"]
    assert lines[3].startswith("  ✓ compile: done (0.")
    assert lines[4:] == ["asked for", "error: it broke", "  hint: mend it"]


def test_quiet_mode_keeps_warnings_errors_and_what_was_asked_for() -> None:
    on, out = screen(Mode.QUIET)
    work(on)
    assert out.getvalue().splitlines() == [
        "warning: careful",
        "asked for",
        "error: it broke",
        "  hint: mend it",
    ]


def test_a_command_in_a_warning_is_spelled_as_it_is_typed() -> None:
    on, out = screen(Mode.PLAIN)
    on.program = "kmodpipe"
    on.warn("not\npublished", hint="invoke publish --pending")
    assert out.getvalue() == "warning: not\\npublished\n  hint: kmodpipe publish --pending\n"


def test_a_part_leaves_the_progress_to_the_whole_and_warns_once() -> None:
    on, out = screen(Mode.PLAIN)
    on.progress("3 steps left")
    for _ in range(2):
        with on.part():
            on.progress("1 of 4 cells")
            work(on)
    on.progress("2 steps left")
    lines = out.getvalue().splitlines()
    assert "said" not in lines and "    1 of 4 cells" not in lines
    assert lines.count("warning: careful") == 1 and lines.count("  → compile") == 2
    assert [line for line in lines if "left" in line] == ["    3 steps left", "    2 steps left"]


def test_without_a_terminal_the_mode_is_plain() -> None:
    assert Screen(out=io.StringIO()).mode is Mode.PLAIN


def test_nothing_from_outside_reaches_the_screen_as_an_escape_or_as_markup() -> None:
    on, out = screen(Mode.PLAIN)
    foul = "x\x1b[31m[bold]a.c:warning: b[/bold]\u202e"
    on.line(foul)
    on.warn(foul)
    on.print(foul)
    on.error(InfraError(foul, detail=foul))
    with on.step(foul) as step:
        step.finish(foul)
    text = out.getvalue()
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert text.count(r"x\x1b[31m[bold]a.c:warning: b[/bold]\u202e") == 8


def test_a_long_line_is_not_folded() -> None:
    on, out = screen(Mode.PLAIN)
    path = "/a-folder" * 40
    on.print(path)
    on.line(path)
    assert out.getvalue().splitlines() == [path, path]


def test_a_renderable_goes_to_the_output_as_it_is() -> None:
    on, out = screen(Mode.QUIET)
    on.show(Text("a table"))
    assert out.getvalue() == "a table\n"


def test_the_event_log_has_one_json_object_a_line_in_every_mode(tmp_path: Path) -> None:
    on, _ = screen(Mode.QUIET)
    log = tmp_path / "deep" / "events.jsonl"
    on.log_to(log)
    work(on)
    on.say("two\nlines \udcff")
    on.close_log()
    on.say("after the log")
    raw = log.read_bytes()
    events = [json.loads(line) for line in raw.splitlines()]
    assert [e["event"] for e in events] == ["say", "warning", "start", "end", "error", "say", "costs"]
    start, end, error = events[2:5]
    assert start["step"] == end["step"] == "compile"
    assert (end["outcome"], error["kind"]) == ("done", "InfraError")
    assert end["seconds"] >= 0
    assert raw.isascii()
    assert [e["time"] for e in events] == sorted(e["time"] for e in events)


def test_a_step_that_raises_has_failed_whatever_it_said_before(tmp_path: Path) -> None:
    on, out = screen(Mode.PLAIN)
    on.log_to(tmp_path / "log")
    with pytest.raises(ZeroDivisionError), on.step("divide") as step:
        step.finish("cached")
        raise ZeroDivisionError
    with on.step("again") as step:
        step.finish("cached")
    on.close_log()
    lines = out.getvalue().splitlines()
    assert lines[1].startswith("  ✗ divide: failed")
    assert lines[3].startswith("  ✓ again: cached")
    ends = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert [e["outcome"] for e in ends if e["event"] == "end"] == ["failed", "cached"]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_shows_what_goes_on_now_and_then_the_outcome(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    out = Terminal()
    on = Screen(out=out)
    assert on.mode is Mode.LIVE
    with on.step("outer"), on.step("inner") as step:
        step.update("super.o\x1b[2J", done=1, total=2)
        deadline = time.monotonic() + 5
        while "super.o" not in out.getvalue() and time.monotonic() < deadline:
            time.sleep(0.02)
        running = out.getvalue()
    assert r"super.o\x1b[2J" in running
    assert "\x1b[2J" not in out.getvalue()
    assert "outer" in running
    assert "done" not in running
    ended = out.getvalue()[len(running) :]
    assert ended.index("inner: done") < ended.index("outer: done")


def test_progress_stays_between_nothing_and_all() -> None:
    on, _ = screen(Mode.QUIET)
    with on.step("compile") as step:
        for done, fraction in ((-1, 0.0), (1, 0.25), (9, 1.0)):
            step.update(done=done, total=4)
            assert step.fraction == fraction
        step.update("no total known", done=3)
        assert step.fraction == 1.0


class Broken(io.StringIO):
    """A stream that cannot be written any more."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self._number = number

    def write(self, text: str) -> int:
        raise OSError(self._number, os.strerror(self._number))


def test_a_reader_that_has_had_enough_is_no_error() -> None:
    on = Screen(Mode.PLAIN, out=Broken(errno.EPIPE))
    on.print("what was asked for")
    on.show("a table")
    on.document({"all": "of it"})


def test_stdout_gets_one_document_and_stderr_the_rest(capsys: pytest.CaptureFixture[str]) -> None:
    on = Screen(Mode.PLAIN)
    on.document_only = True
    on.print("results")
    on.show("a table")
    on.say("progress")
    on.document({"a": ["✓ \x1b[31m", 1]})
    found = capsys.readouterr()
    assert json.loads(found.out) == {"a": ["✓ \x1b[31m", 1]}
    assert all(text in found.err for text in ("results", "a table", "progress"))


def test_what_goes_on_needs_no_reader_and_what_was_asked_for_does(tmp_path: Path) -> None:
    on = Screen(Mode.PLAIN, out=Broken(errno.EIO))
    on.log_to(tmp_path / "events.jsonl")
    with on.step("goes on"):
        on.say("said")
    on.error(InfraError("told to nobody"))
    on.close_log()
    assert "told to nobody" in (tmp_path / "events.jsonl").read_text()
    with pytest.raises(InfraError, match=r"the output cannot be written: input/output error"):
        on.print("what was asked for")


def test_an_event_log_that_cannot_be_written_any_more_is_told_once() -> None:
    on, out = screen(Mode.PLAIN)
    on.log_to(Path("/dev/full"))
    work(on)
    on.close_log()
    assert out.getvalue().count("the event log ends here: no space left on device (/dev/full)") == 1


def test_a_locale_without_a_tick_gets_its_number() -> None:
    raw = io.BytesIO()
    on = Screen(Mode.PLAIN, out=io.TextIOWrapper(raw, encoding="ascii", write_through=True))
    work(on)
    assert b"\\u2713" in raw.getvalue()
