"""Each wrong input ends with its exit code and says what has to be said; see the table in this folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.wrong_inputs import ROWS, Row, problems, run


@pytest.mark.parametrize("row", ROWS, ids=[f"{n}-{row.kind}-{row.words}" for n, row in enumerate(ROWS, 1)])
def test_a_wrong_input_is_answered(row: Row, tmp_path: Path) -> None:
    ended = run(row, tmp_path)
    assert problems(row, ended) == {}, ended.err


def test_there_are_many_of_every_kind() -> None:
    kinds = [row.kind for row in ROWS]
    assert len(ROWS) >= 40 and all(kinds.count(kind) >= 3 for kind in set(kinds))
