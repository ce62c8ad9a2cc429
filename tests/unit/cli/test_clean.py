"""`invoke clean --results`: nothing of the user's is removed unless it was listed, and agreed to."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest

from kmodpipe import results
from kmodpipe.cli import commands
from kmodpipe.cli.exit import guarded
from kmodpipe.cli.invocation import Invocation
from kmodpipe.cli.options import CleanOptions
from kmodpipe.util import process_id
from kmodpipe.util.screen import Mode, Screen
from tests.support.sample_days import bad

RUNS = [f"2026010{day}-120000-aaaa" for day in range(1, 5)]


@pytest.fixture
def out(tmp_path: Path) -> Path:
    for name in RUNS:
        folder = tmp_path / "out" / name
        folder.mkdir(parents=True)
        (folder / ".kmodpipe-run").write_text("ended")
    results.save(bad(), tmp_path / "out" / RUNS[1] / "results.json")
    (tmp_path / "out" / "latest").symlink_to(RUNS[1])
    (tmp_path / "out" / "notes.txt").write_text("mine")
    (tmp_path / "out" / "20260101-mine").mkdir()
    return tmp_path / "out"


def clean(out: Path, **options: object) -> tuple[int, str]:
    shown = io.StringIO()
    given = CleanOptions(out=str(out), results=True, **options)  # type: ignore[arg-type]
    code = guarded(commands.clean, given, Invocation(out.parent, "", Screen(Mode.PLAIN, out=shown)))
    return code, shown.getvalue()


def left(out: Path) -> list[str]:
    return sorted(path.name for path in out.iterdir())


def test_a_dry_run_lists_what_each_run_was_and_removes_nothing(out: Path) -> None:
    before = left(out)
    code, text = clean(out, dry_run=True)
    assert code == 0 and left(out) == before
    assert all(name in text for name in RUNS) and "4 runs would be removed; nothing was" in text
    assert "unpatched, index-nouuid: 17 passed, 1 failed, 0 without verdict, exit 1" in text


def test_without_an_answer_nothing_is_removed(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = left(out)
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    code, text = clean(out)
    assert code == 2 and "--yes" in text and left(out) == before


@pytest.mark.parametrize(("answer", "gone"), [("y\n", True), ("n\n", False), ("", False), ("\n", False)])
def test_only_a_yes_removes(out: Path, monkeypatch: pytest.MonkeyPatch, answer: str, gone: bool) -> None:
    stdin = io.StringIO(answer)
    monkeypatch.setattr(stdin, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stdin", stdin)
    code, text = clean(out)
    assert code == 0 and "remove 4 runs?" in text
    assert (out / RUNS[0]).exists() != gone


def test_what_is_not_a_run_stays(out: Path) -> None:
    code, text = clean(out, yes=True)
    assert (code, left(out)) == (0, ["20260101-mine", "notes.txt"]) and "4 runs removed" in text


def test_keep_keeps_the_newest_and_the_last_complete_one(out: Path) -> None:
    code, text = clean(out, keep=1, yes=True)
    assert code == 0 and "2 runs removed" in text
    assert left(out) == sorted(["20260101-mine", RUNS[1], RUNS[3], "latest", "notes.txt"])
    code, text = clean(out, keep=9, yes=True)
    assert code == 0 and "nothing to remove" in text


def test_a_run_that_goes_on_stays(out: Path) -> None:
    (out / RUNS[2] / ".kmodpipe-run").write_text(process_id.current())
    clean(out, yes=True)
    assert RUNS[2] in left(out)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"keep": -1}, "--keep takes a number from 0 up"),
        ({"results": False, "keep": 2}, "--keep is for results"),
        ({"results": False, "yes": True}, "--yes is for results"),
        ({"all": True}, "--all is for the cache"),
    ],
)
def test_options_that_do_not_fit_together(out: Path, options: dict[str, object], said: str) -> None:
    shown = io.StringIO()
    given = CleanOptions(**{"out": str(out), "results": True, **options})  # type: ignore[arg-type]
    code = guarded(commands.clean, given, Invocation(out.parent, "", Screen(Mode.PLAIN, out=shown)))
    assert code == 2 and said in shown.getvalue()
    assert (out / RUNS[0]).exists()
