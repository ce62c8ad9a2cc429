"""URLs with fields of a run."""

from __future__ import annotations

import pytest

from kmodpipe.publish import template
from kmodpipe.util.errors import UserError


def test_what_a_run_says_stays_one_segment_of_the_path() -> None:
    assert template.expand("https://h/{run}/x", {"run": "../a b?c#d"}) == "https://h/..%2Fa%20b%3Fc%23d/x"
    with pytest.raises(UserError):
        template.expand("https://h/{run}/x", {"run": ".."})
