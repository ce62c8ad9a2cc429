"""When it is tried again."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from kmodpipe.publish.payload import DeliveryStatus, Reply
from kmodpipe.publish.retry import pause, retry_after
from tests.support.sample_receivers import http

NOW = datetime(2026, 11, 25, 1, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("told", "seconds"),
    [
        ("7", 7), ("0", 0), ("", None), ("soon", None), ("-3", None), ("1e9", None), ("9999999999999", None),
        ("Wed, 25 Nov 2026 01:00:30 GMT", 30), ("Wed, 25 Nov 2026 00:00:00 GMT", 0), ("²", None),
    ],
)  # fmt: skip
def test_retry_after_is_read_as_a_number_or_a_date(told: str, seconds: float | None) -> None:
    assert retry_after({"retry-after": told}, NOW) == seconds


def test_the_pause_grows_and_honours_the_server_within_bounds() -> None:
    one = http(**{"attempts": 4, "retry-after-max-s": 60})
    busy = Reply(DeliveryStatus.BUSY, "")
    assert [pause(one, busy, n, lambda: 1.0) for n in (1, 2, 3, 4)] == [1, 2, 4, None]
    assert pause(one, busy, 1, lambda: 0.0) == 0.5
    assert pause(one, replace(busy, retry_after_s=30.0), 1, lambda: 1.0) == 30
    assert pause(one, replace(busy, retry_after_s=6 * 3600.0), 1, lambda: 1.0) is None
    assert pause(one, Reply(DeliveryStatus.REFUSED, ""), 1, lambda: 1.0) is None
    posted = http(method="POST", url="https://files.example.org/in")
    assert pause(posted, busy, 1, lambda: 1.0) is not None
    assert pause(posted, Reply(DeliveryStatus.UNCLEAR, ""), 1, lambda: 1.0) is None
