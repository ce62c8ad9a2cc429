"""The share of a cache through a registry."""

from __future__ import annotations

from pathlib import Path

import pytest

from kmodpipe.cache.share import open_share
from kmodpipe.cache.store import Store
from kmodpipe.util.errors import UserError
from kmodpipe.util.screen import Mode, Screen


def test_a_key_that_could_be_guessed_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KMODPIPE_SHARE_KEY", "short")
    with pytest.raises(UserError, match="16 characters"):
        open_share("localhost:5000/x", Store(tmp_path), Screen(Mode.QUIET))
    assert open_share("none", Store(tmp_path), Screen(Mode.QUIET)) is None
