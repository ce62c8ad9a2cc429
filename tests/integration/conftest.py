"""What integration tests need: skipped with the reason where it is missing, failed where it must not be."""

from __future__ import annotations

import os

import pytest


def require(condition: bool, reason: str) -> None:
    """Unless ``condition``, skip the test; fail it where KMODPIPE_REQUIRE_INTEGRATION=1 is set."""
    if condition:
        return
    if os.environ.get("KMODPIPE_REQUIRE_INTEGRATION") == "1":
        pytest.fail(f"required here, and missing: {reason}")
    pytest.skip(reason)
