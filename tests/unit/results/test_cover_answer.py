"""cover.json, read back."""

from __future__ import annotations

import json

import pytest

from kmodpipe.analysis.cover.join import Question, join
from kmodpipe.results import cover_answer
from kmodpipe.util.errors import UserError
from tests.support.coverage import changes, coverage


def test_what_was_written_is_read() -> None:
    answer = join(Question("fix", "linux-6.1", changes()), coverage())
    assert cover_answer.from_json(cover_answer.to_json(answer)) == answer


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"schema": "kmodpipe"}', "not json", '{"schema":1}'])
def test_what_is_none_is_refused(text: str) -> None:
    with pytest.raises(UserError):
        cover_answer.from_json(text)


def test_a_damaged_one_is_refused() -> None:
    document = json.loads(cover_answer.to_json(join(Question("fix", "l", changes()), coverage())))
    document["hunks"][0]["lines"][0]["state"] = "perhaps"
    with pytest.raises(UserError):
        cover_answer.from_json(json.dumps(document))
