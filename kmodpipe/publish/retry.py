"""When to try again. Pure, but for the clock and the dice that are handed in."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from kmodpipe.publish.payload import DeliveryStatus, Reply
from kmodpipe.publish.receivers.base import Receiver

_MOST_BACKOFF_S = 60.0


def retry_after(headers: Mapping[str, str], now: datetime) -> float | None:
    """The seconds that ``Retry-After`` asks for, as a number or as a date; None where it asks for nothing
    that can be read."""
    told = headers.get("retry-after", "").strip()
    if re.fullmatch(r"[0-9]{1,9}", told, re.ASCII):
        return float(told)
    try:
        date = parsedate_to_datetime(told)
    except (ValueError, TypeError, IndexError):
        return None
    if date.tzinfo is None:
        date = date.replace(tzinfo=UTC)
    return max((date - now).total_seconds(), 0.0)


def pause(receiver: Receiver, reply: Reply, attempt: int, dice: Callable[[], float]) -> float | None:
    """Seconds to wait before the next attempt, None where there is none. ``attempt`` counts from 1.

    What the server asks for is waited for, or, where that is longer than we are willing to, left to another
    day: coming back before its time helps nobody."""
    if attempt >= receiver.attempts or reply.fate not in (DeliveryStatus.BUSY, DeliveryStatus.UNCLEAR):
        return None
    if reply.fate is DeliveryStatus.UNCLEAR and not receiver.repeatable:
        return None
    # Half fixed, half by chance: publishers that failed together do not come back together.
    grown = min(receiver.backoff_s * 2.0 ** (attempt - 1), _MOST_BACKOFF_S)
    backoff = grown / 2 + grown / 2 * dice()
    if reply.retry_after_s is None:
        return backoff
    if reply.retry_after_s > receiver.retry_after_max_s:
        return None
    return max(reply.retry_after_s, min(backoff, receiver.backoff_s))
