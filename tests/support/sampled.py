"""A table of which every test run takes the first row, and a thorough one all."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from _pytest.mark import ParameterSet


def sampled(rows: Iterable[tuple[object, ...]]) -> list[ParameterSet]:
    """The rows for ``parametrize``, all but the first marked as thorough."""
    return [pytest.param(*row, marks=[pytest.mark.thorough] if at else []) for at, row in enumerate(rows)]
