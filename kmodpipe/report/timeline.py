"""Lay out the timeline of a run: bars on lanes, steps that ran at the same time on different lanes. Pure.

Units are those of the SVG's viewBox, 1000 wide, unless a name ends in ``_s`` (seconds).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from kmodpipe.report.wording import count
from kmodpipe.results import Span

_WIDTH = 1000
_LANE, _BAR, _STRIP = 24, 15, 5
_MOST_BARS, _MOST_ROWS = 1500, 300
_GUEST = "guest"
_NAMED = ("base", "module", "test")
_TICKS_S = (0.1, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400)


@dataclass(frozen=True)
class Bar:
    """One step, or one part of a guest's life."""

    x: float
    y: int
    width: float
    height: int
    # Its colour; one of `Picture.kinds`.
    kind: str
    title: str
    # The label on it; empty if there is no room.
    text: str = ""
    failed: bool = False


@dataclass(frozen=True)
class Tick:
    """A mark on the time axis."""

    x: float
    text: str


@dataclass(frozen=True)
class Row:
    """A row of the table that repeats the picture in text."""

    starts: str
    takes: str
    kind: str
    subject: str
    outcome: str


@dataclass(frozen=True)
class Picture:
    """The timeline, as the template draws it."""

    width: int
    height: int
    bars: tuple[Bar, ...]
    ticks: tuple[Tick, ...]
    # Colour names and what they stand for.
    kinds: tuple[tuple[str, str], ...]
    # What the picture shows, in words.
    description: str
    table: tuple[Row, ...]
    # How many steps the table leaves out.
    hidden: int


def draw(spans: Sequence[Span]) -> Picture | None:
    """Return the timeline of *spans*, None if no times are known."""
    # Results may come from elsewhere, and JSON readers accept infinity.
    known = [s for s in spans if s.seconds >= 0 and math.isfinite(s.began + s.seconds + (s.boot_s or 0))]
    if not known:
        return None
    kept = sorted(sorted(known, key=lambda s: -s.seconds)[:_MOST_BARS], key=lambda s: (s.began, -s.seconds))
    start = min(s.began for s in kept)
    whole = max(max(s.began + s.seconds for s in kept) - start, 0.1)
    scale = _WIDTH / whole
    steps = [s for s in kept if not _is_guest(s)]
    lanes = _lanes(steps)
    bars = [_bar(span, lane, start, scale) for span, lane in zip(steps, lanes, strict=True)]
    spare = max(lanes, default=-1) + 1
    for span in kept:
        if _is_guest(span):
            lane = _home(span, steps, lanes)
            bars += _strip(span, spare if lane is None else lane, start, scale)
    height = (max((b.y for b in bars), default=0) // _LANE + 1) * _LANE + 18
    rows = sorted(sorted(known, key=lambda s: -s.seconds)[:_MOST_ROWS], key=lambda s: s.began)
    return Picture(
        _WIDTH,
        height,
        tuple(bars),
        _ticks(whole, scale),
        (
            ("base", "kernel base"), ("module", "module of a cell"), ("test", "a cell under test"),
            ("boot", "a guest, until its /init"), ("guest", "a guest, from there on"), ("other", "all else"),
        ),
        _description(known, whole),
        tuple(
            Row(f"{s.began - start:.1f} s", f"{s.seconds:.1f} s", s.kind, s.subject + _by(s), s.outcome)
            for s in rows
        ),
        len(known) - len(rows),
    )  # fmt: skip


def _is_guest(span: Span) -> bool:
    # The step that builds the guest's initramfs has the same kind; its subject is "guest" too.
    return span.kind == _GUEST and span.subject != _GUEST


def _lanes(steps: Sequence[Span]) -> list[int]:
    """Return for each step the lowest lane that is free when it begins; *steps* are in order of beginning."""
    ends: list[float] = []
    lanes = []
    for span in steps:
        lane = next((i for i, end in enumerate(ends) if end <= span.began + 0.001), len(ends))
        if lane == len(ends):
            ends.append(0.0)
        ends[lane] = span.began + span.seconds
        lanes.append(lane)
    return lanes


def _home(guest: Span, steps: Sequence[Span], lanes: Sequence[int]) -> int | None:
    """Return the lane of the test that started a guest, None if there is none."""
    for span, lane in zip(steps, lanes, strict=True):
        inside = span.began - 0.01 <= guest.began <= span.began + span.seconds + 0.01
        if span.kind == "test" and span.subject == guest.subject and inside:
            return lane
    return None


def _bar(span: Span, lane: int, start: float, scale: float) -> Bar:
    width = max(span.seconds * scale, 1.0)
    label = f"{span.kind} {span.subject}"
    room = int((width - 6) / 6.2)
    return Bar(
        round((span.began - start) * scale, 1),
        lane * _LANE + 2,
        round(width, 1),
        _BAR,
        span.kind if span.kind in _NAMED else "other",
        f"{label}{_by(span)}: {span.seconds:.1f} s, {span.outcome}",
        "" if room < 4 else label if len(label) <= room else label[: room - 1] + "…",
        span.outcome == "failed",
    )


def _by(span: Span) -> str:
    return f" on {span.worker}" if span.worker else ""


def _strip(span: Span, lane: int, start: float, scale: float) -> list[Bar]:
    """Return the bars of a guest, drawn below its test: the time to /init, and the rest."""
    x, y = (span.began - start) * scale, lane * _LANE + 2 + _BAR
    boot = min(span.boot_s or 0.0, span.seconds)
    title = f"guest of {span.subject}{_by(span)}: {span.seconds:.1f} s, {span.outcome}"
    title += f", /init after {span.boot_s:.1f} s" if span.boot_s is not None else ""
    rest = max((span.seconds - boot) * scale, 0.5)
    bars = [Bar(round(x + boot * scale, 1), y, round(rest, 1), _STRIP, "guest", title)]
    if boot:
        bars.append(Bar(round(x, 1), y, round(max(boot * scale, 0.5), 1), _STRIP, "boot", title))
    return bars


def _ticks(whole: float, scale: float) -> tuple[Tick, ...]:
    step = next((t for t in _TICKS_S if whole / t <= 10), _TICKS_S[-1])
    # The last tick needs room for its text.
    number = min(int(whole * 0.96 / step), 50)
    return tuple(Tick(round(n * step * scale, 1), clock(n * step)) for n in range(number + 1))


def clock(seconds: float) -> str:
    """Return a duration as text: ``0.5 s``, ``42 s``, ``3 min``, ``1 h 20 min``."""
    if seconds < 60 or (seconds < 600 and seconds % 60):
        return f"{seconds:g} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min".replace(" 0 min", "")


def _description(spans: Sequence[Span], whole: float) -> str:
    """Return in words what the picture shows; *whole* is in seconds."""
    parts = [f"{whole:.0f} s from the first step to the last"]
    for kind, noun in (("base", "kernel base"), ("module", "module"), ("test", "cell under test")):
        own = [s.seconds for s in spans if s.kind == kind]
        if own:
            noun = "cells under test" if kind == "test" and len(own) > 1 else noun
            named = f"{len(own)} {noun}" if kind == "test" else count(len(own), noun)
            parts.append(f"{named}: {sum(own):.1f} s of work")
    guests = [s for s in spans if _is_guest(s)]
    boots = sorted(s.boot_s for s in guests if s.boot_s is not None)
    if guests:
        median = f", {boots[len(boots) // 2]:.1f} s to /init (median)" if boots else ""
        parts.append(f"{count(len(guests), 'guest')}{median}")
    return "; ".join(parts) + ". What came from the cache took no time and is not drawn."
