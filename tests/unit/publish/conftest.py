"""A finished run on the disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from kmodpipe.publish.outbox import Outbox
from kmodpipe.publish.run_data import RunData
from tests.support import sample_run
from tests.support.sample_receivers import on_disk


@pytest.fixture
def finished(tmp_path: Path) -> RunData:
    return on_disk(sample_run.finished(), tmp_path / "out")


@pytest.fixture
def box(tmp_path: Path) -> Outbox:
    return Outbox(tmp_path / "outbox").open()


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.delenv("SQUAD_TOKEN", raising=False)
    (tmp_path / "pyproject.toml").write_text(
        '[tool.kmodpipe]\ntree = "t"\n'
        '[tool.kmodpipe.receivers.file]\nkind = "kcidb"\norigin = "kmodpipe"\nfile = "sent/{run}.json"\n'
        '[tool.kmodpipe.receivers.squad]\nkind = "squad"\nurl = "https://squad.example.org"\n'
        'group = "kernel"\nproject = "overlayfs"\ntoken-env = "SQUAD_TOKEN"\n'
    )
    return tmp_path
