"""Decide when to try again. Pure: the time and the source of random numbers are arguments."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from kmodpipe.publish.payload import DeliveryStatus, Reply
from kmodpipe.publish.receivers.base import Receiver

_MOST_BACKOFF_S = 60.0


def retry_after(headers: Mapping[str, str], now: datetime) -> float | None:
    """Return the seconds of ``Retry-After``, a number or a date (RFC 9110, 10.2.3); None if unreadable."""
    value = headers.get("retry-after", "").strip()
    if re.fullmatch(r"[0-9]{1,9}", value, re.ASCII):
        return float(value)
    try:
        date = parsedate_to_datetime(value)
    except (ValueError, TypeError, IndexError):
        return None
    if date.tzinfo is None:
        date = date.replace(tzinfo=UTC)
    return max((date - now).total_seconds(), 0.0)


def pause(receiver: Receiver, reply: Reply, attempt: int, dice: Callable[[], float]) -> float | None:
    """Return the seconds to wait before the next attempt, None if there is to be none.

    *attempt* counts from 1. A server's Retry-After is respected: if it is longer than the receiver's
    ``retry-after-max``, there is no further attempt in this run.
    """
    if attempt >= receiver.attempts or reply.status not in (DeliveryStatus.BUSY, DeliveryStatus.UNCLEAR):
        return None
    if reply.status is DeliveryStatus.UNCLEAR and not receiver.repeatable:
        return None
    # Half fixed, half random, so that publishers that failed together do not all return together.
    grown = min(receiver.backoff_s * 2.0 ** (attempt - 1), _MOST_BACKOFF_S)
    backoff = grown / 2 + grown / 2 * dice()
    if reply.retry_after_s is None:
        return backoff
    if reply.retry_after_s > receiver.retry_after_max_s:
        return None
    return max(reply.retry_after_s, min(backoff, receiver.backoff_s))
