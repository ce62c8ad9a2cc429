"""What is kept of an edit in a cell, and what makes it another one."""

from __future__ import annotations

from pathlib import Path

from kmodpipe.analysis.ablate.memory import Built, Memory, Record
from kmodpipe.analysis.ablate.outcomes import Seen
from kmodpipe.results import Verdict


def test_a_record_comes_back_as_it_was(tmp_path: Path) -> None:
    memory = Memory(tmp_path)
    assert memory.recall("ground", "edit") == Record()
    seen = Seen("a", Verdict.FAIL, "ESTALE", times=2)
    kept = Record(Built.COMPILER, "fs/a.c:1: error", {"digest": seen}, ("1.2", "3.1"))
    memory.keep("ground", "edit", kept)
    assert memory.recall("ground", "edit") == kept
    assert memory.recall("ground", "other") == memory.recall("other", "edit") == Record()


def test_what_was_not_steady_is_tried_anew(tmp_path: Path) -> None:
    memory = Memory(tmp_path)
    steady, loose = Seen("a", Verdict.PASS, "x"), Seen("b", Verdict.PASS, "x", times=2, unsteady=True)
    memory.keep("ground", "edit", Record(Built.DIFFERS, cases={"a": steady, "b": loose}))
    assert memory.recall("ground", "edit").cases == {"a": steady}


def test_a_damaged_record_is_forgotten(tmp_path: Path) -> None:
    memory = Memory(tmp_path)
    memory.keep("ground", "edit", Record(Built.SAME))
    (path,) = (tmp_path / "answers/ablate").iterdir()
    for text in ("", "{}", path.read_text().replace('"same"', '"nonsense"'), "[1]"):
        path.write_text(text)
        assert memory.recall("ground", "edit") == Record()


def test_a_cache_that_cannot_be_written_to_is_no_failure(tmp_path: Path) -> None:
    (tmp_path / "answers").write_text("a file")
    Memory(tmp_path).keep("ground", "edit", Record(Built.SAME))
    assert Memory(tmp_path).recall("ground", "edit") == Record()


def test_results_are_added_by_the_digest_of_the_case() -> None:
    one, two = Seen("a", Verdict.PASS, "x"), Seen("a", Verdict.FAIL, "y")
    record = Record(Built.DIFFERS).with_cases({"old": one}).with_cases({"new": two})
    assert record.cases == {"old": one, "new": two}
