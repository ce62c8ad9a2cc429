"""Which tests run: ``pytest`` leaves the thorough ones out, ``pytest -m everything`` runs all there are."""

from __future__ import annotations

import os

import pytest

# More would only wait for each other: what takes long is in one group.
MOST_WORKERS = 4


def pytest_itemcollected(item: pytest.Item) -> None:
    item.add_marker(pytest.mark.everything)
    if item.get_closest_marker("integration") and not item.get_closest_marker("xdist_group"):
        # They build, boot, and measure time: one after the other, beside the tests that need no machine.
        item.add_marker(pytest.mark.xdist_group("machine"))


def pytest_xdist_auto_num_workers() -> int:
    return min(len(os.sched_getaffinity(0)), MOST_WORKERS)
