"""What of a run is published."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from kmodpipe import results
from kmodpipe.publish import run_data
from kmodpipe.util.errors import UserError
from tests.support import sample_run


def test_an_unfinished_run_is_not_published(tmp_path: Path) -> None:
    run = replace(sample_run.finished(), finished="")
    results.save(run, tmp_path / "results.json")
    with pytest.raises(UserError, match="has not ended"):
        run_data.load(tmp_path)
