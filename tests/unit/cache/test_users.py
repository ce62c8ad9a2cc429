"""Who uses a cache."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from kmodpipe.cache import users
from kmodpipe.util.errors import InfraError


def test_a_cache_in_use_is_not_emptied_and_says_by_whom(tmp_path: Path) -> None:
    said: list[str] = []
    with (
        users.using(tmp_path, said.append),
        users.using(tmp_path, said.append),
        pytest.raises(InfraError, match=rf"in use by pid {os.getpid()} \("),
        users.alone(tmp_path, said.append),
    ):
        pass
    (tmp_path / "locks/users/999999999-dead").write_text("pid 999999999 (invoke test)")
    with users.alone(tmp_path, said.append):
        assert list((tmp_path / "locks/users").iterdir()) == []
    assert said == []
