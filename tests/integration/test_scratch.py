"""What a cell gets from the cache is what a build from nothing gives, byte for byte."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import scratch
from tests.integration.conftest import require_machinery, show

pytestmark = [pytest.mark.integration, pytest.mark.thorough, pytest.mark.timeout(3600)]


def test_cells_are_byte_for_byte_the_same_as_from_nothing(
    request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    require_machinery()
    found = scratch.compare_all(tmp_path, most=2)
    show(request, scratch.table(found))
    assert len(found) == 2
    assert all(one.same and not one.different for one in found)
