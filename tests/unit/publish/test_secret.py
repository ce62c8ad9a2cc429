"""Tokens: where they come from, and that they show nowhere."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from kmodpipe.publish.secret import Secret, read
from kmodpipe.util.errors import UserError
from tests.support.sample_receivers import TOKEN


def test_a_secret_shows_nowhere() -> None:
    secret = Secret(TOKEN)
    assert TOKEN not in f"{secret} {secret!r} {[secret]}"
    assert secret.scrub(f"bad token {TOKEN}!") == "bad token (secret)!"
    with pytest.raises(TypeError):
        pickle.dumps(secret)


def test_a_token_comes_from_the_environment_or_a_file_of_its_owner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("T", f" {TOKEN}\n")
    found = read("one", env="T", file="", root=tmp_path)
    assert found and found.reveal() == TOKEN
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    (tmp_path / "token").chmod(0o600)
    found = read("one", env="", file="token", root=tmp_path)
    assert found and found.reveal() == TOKEN
    for mode in (0o640, 0o604, 0o620):
        (tmp_path / "token").chmod(mode)
        with pytest.raises(UserError, match="others may use"):
            read("one", env="", file="token", root=tmp_path)
    assert read("one", env="", file="", root=tmp_path) is None


@pytest.mark.parametrize("value", ["", "two words", "a\nb", 'quo"te', "ümlaut", "x" * 9000])
def test_what_cannot_be_a_token_is_refused_unseen(
    value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("T", value)
    with pytest.raises(UserError) as caught:
        read("one", env="T", file="", root=tmp_path)
    assert not value or value not in str(caught.value)
