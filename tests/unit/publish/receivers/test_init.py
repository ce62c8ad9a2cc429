"""Declarations of receivers: which are refused, and without showing a value."""

from __future__ import annotations

from pathlib import Path

import pytest

from kmodpipe.cli.invocation import receivers_of
from kmodpipe.pipeline import config
from kmodpipe.util.errors import UserError
from tests.support.sample_receivers import TOKEN, http


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ({"token": TOKEN}, "holds a secret: token"),
        ({"password": TOKEN}, "holds a secret: password"),
        ({"api_key": TOKEN}, "holds a secret: api_key"),
        ({"token-env": TOKEN}, "takes the name of an environment variable"),
        ({"url": f"https://me:{TOKEN}@files.example.org/{{run}}"}, "user name or password"),
        ({"url": f"https://files.example.org/{{run}}?token={TOKEN}"}, "its query holds a secret"),
        ({"url": "ftp://files.example.org/{run}"}, "not a URL of the form"),
        ({"url": "https://{run}/junit.xml"}, "cannot choose the host"),
        ({"url": "https://files.example.org/{run.__class__}"}, "is not known here"),
        ({"url": "https://files.example.org/{nothing}"}, "is not known here"),
        ({"url": "https://files.example.org/junit.xml"}, "would overwrite"),
        ({"url": "http://files.example.org/{run}", "token-env": "T"}, "without encryption"),
        ({"token-env": "T", "token-file": "t"}, "exclude each other"),
        ({"file": "../secret"}, "name of a file in the run's folder"),
        ({"kind": TOKEN}, "no kind that is known"),
        ({"tokn-env": TOKEN}, "there is no such field"),
        ({"attempts": 0}, "takes a number from 1 up"),
    ],
)
def test_a_wrong_declaration_is_refused_and_shows_no_value(table: dict[str, object], told: str) -> None:
    with pytest.raises(UserError, match="one") as caught:
        http(**table)
    assert told in str(caught.value)
    assert TOKEN not in str(caught.value)


def test_receivers_are_read_from_pyproject(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(
        '[tool.kmodpipe]\ntree = "t"\n[tool.kmodpipe.receivers.archive]\nkind = "http"\n'
        'url = "https://files.example.org/{run}"\nconnect-s = 3\n'
    )
    receivers = receivers_of(config.load(tmp_path))
    assert receivers["archive"].connect_s == 3
