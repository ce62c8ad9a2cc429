"""Where the cache is: the environment decides, in a fixed order."""

from __future__ import annotations

from pathlib import Path

import pytest

from kmodpipe.cache import place
from kmodpipe.util.errors import InfraError
from tests.support.trees import commit_all, git, write


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"KMODPIPE_CACHE": "/own", "XDG_CACHE_HOME": "/xdg", "HOME": "/home/u"}, "/own"),
        ({"XDG_CACHE_HOME": "/xdg", "HOME": "/home/u"}, "/xdg/kmodpipe"),
        ({"XDG_CACHE_HOME": "relative", "HOME": "/home/u"}, "/home/u/.cache/kmodpipe"),
        ({"HOME": "/home/u"}, "/home/u/.cache/kmodpipe"),
        ({}, None),
    ],
)
def test_the_first_that_is_set_decides(
    monkeypatch: pytest.MonkeyPatch, given: dict[str, str], expected: str | None
) -> None:
    for name in ("KMODPIPE_CACHE", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    assert place.cache_path() == (Path(expected) if expected else None)


def test_a_place_that_cannot_be_made_is_an_infrastructure_error_with_a_hint(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("KMODPIPE_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(InfraError, match="cannot be used") as raised:
        place.cache_folder()
    assert "KMODPIPE_CACHE" in raised.value.hint


def test_in_a_repository_it_is_no_part_of_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    write(tmp_path, {"a": ""})
    commit_all(tmp_path, "first")
    # As the last job of a CI left it.
    write(tmp_path, {".kmodpipe/downloads/a.deb": ""})
    monkeypatch.setenv("KMODPIPE_CACHE", str(tmp_path / ".kmodpipe"))
    place.cache_folder()
    assert git(tmp_path, "status", "--porcelain") == ""
