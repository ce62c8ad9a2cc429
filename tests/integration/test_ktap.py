"""`logs.ktap` beside the kernel's own reader, over KUnit's test data of Debian's sources of 6.12 and 7.x."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from kmodpipe.util.errors import InfraError
from tests.integration.conftest import require, show
from tests.support import kunit

pytestmark = [
    pytest.mark.integration,
    pytest.mark.thorough,
    pytest.mark.kernels,
    pytest.mark.timeout(1800),
]


def test_agrees_with_the_kernels_reader_or_is_stricter(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    require(bool(shutil.which("apt-get") and shutil.which("dpkg-deb")), "no apt-get and dpkg-deb")
    try:
        trees = kunit.packaged(tmp_path)
    except (InfraError, LookupError) as e:
        require(False, f"Debian's kernel sources cannot be had here: {e}")
    rows = [row for tree in trees for row in kunit.compare(tree)]
    show(request, kunit.table(rows))
    assert len(rows) >= 2 * 23
    assert [row for row in rows if not row.agreed and not row.reason] == []
