"""Which tests run: ``pytest`` leaves out the thorough ones and those of many kernels.

``pytest -m everything`` runs all there are.
"""

from __future__ import annotations

import os

import pytest

from tests.support import flavours

# More would only wait for each other: what takes long is in one group.
MOST_WORKERS = 4


def pytest_itemcollected(item: pytest.Item) -> None:
    item.add_marker(pytest.mark.everything)
    if item.get_closest_marker("integration") and not item.get_closest_marker("xdist_group"):
        # They build, boot, and measure time: one after the other, beside the tests that need no machine.
        item.add_marker(pytest.mark.xdist_group("machine"))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the tests marked ``flavour(NAME)`` of the flavours that are not built."""
    left_out = [i for i in items if any(not flavours.is_built(m.args[0]) for m in i.iter_markers("flavour"))]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in set(left_out)]


def pytest_xdist_auto_num_workers() -> int:
    return min(len(os.sched_getaffinity(0)), MOST_WORKERS)
