"""The steps of a run in lanes."""

from __future__ import annotations

from dataclasses import replace

from kmodpipe.report import timeline
from kmodpipe.results import Span

SPANS = (
    Span("base", "ed45", 1000.0, 90.0, "made"),
    Span("module", "a", 1090.0, 3.0, "made"),
    Span("module", "b", 1090.5, 3.0, "failed"),
    Span("test", "a", 1093.1, 4.0, "7 as expected"),
    Span("guest", "a", 1093.2, 3.5, "done", 1.2),
    Span("guest", "guest", 999.0, 1.5, "made"),
)


def test_steps_that_overlap_have_lanes_of_their_own_and_guests_lie_in_their_test() -> None:
    drawn = timeline.draw(SPANS)
    assert drawn
    lanes = {b.title.split(":")[0]: b.y // 24 for b in drawn.bars if b.height > 10}
    assert lanes["module a"] != lanes["module b"] and lanes["test a"] == lanes["module a"]
    strips = [b for b in drawn.bars if b.height < 10]
    assert {b.kind for b in strips} == {"guest", "boot"} and {b.y // 24 for b in strips} == {lanes["test a"]}
    assert [b.failed for b in drawn.bars if b.title.startswith("module b")] == [True]
    assert max(b.x + b.width for b in drawn.bars) <= drawn.width + 1
    assert (
        "1 kernel base: 90.0 s of work; 2 modules: 6.0 s" in drawn.description
        and "1 guest, 1.2 s" in drawn.description
    )


def test_who_did_it_is_named_where_there_are_several() -> None:
    drawn = timeline.draw([replace(span, worker="w3") for span in SPANS])
    assert drawn and all(" on w3: " in bar.title for bar in drawn.bars)
    assert {row.subject for row in drawn.table} == {f"{span.subject} on w3" for span in SPANS}
    alone = timeline.draw(SPANS)
    assert alone and not any(" on " in bar.title for bar in alone.bars)


def test_a_timeline_of_many_steps_is_bounded() -> None:
    drawn = timeline.draw([Span("module", f"m{i}", i * 0.1, 0.5) for i in range(5000)])
    assert drawn and len(drawn.bars) == 1500 and len(drawn.table) == 300 and drawn.hidden == 4700
    assert timeline.draw(()) is None
    endless = [Span("base", "x", n, n) for n in (float("inf"), float("nan"), 1e308 * 10)]
    assert timeline.draw(endless) is None
    assert timeline.draw([*endless, Span("base", "y", -1e300, 1.0), Span("base", "y", 1e300, 1e9)])
