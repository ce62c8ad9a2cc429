"""The stream's records folded into one record a case."""

from __future__ import annotations

from dataclasses import replace

from kmodpipe.logs.case_record import OUTPUT_LIMIT, case_records
from tests.support.sample_case import GOOD, Rec, record


def test_trials_fold_records() -> None:
    found = case_records(
        [
            Rec("hello", {"release": "5.10.223"}),
            record("start", id="remount"),
            record("obs", key="nlink", value="2"),
            record("obs", key="nlink", value="3"),
            record("obs", key="outcome", value="mounted"),
            record("out", data="hel"),
            record("out", data="lo\n"),
            record("kmsg", level=4, ts_us=5, text="overlayfs: requires a single fs for lower and upper"),
            record("cut", stream="kmsg", dropped=7),
            Rec("beat", {"uptime_ms": "1"}),
            record("end", how="exit", status=0, ms=1500, left="mounts:1"),
            record("start", 1, id="second"),
            Rec("done", {"cases": "2"}),
        ]
    )
    assert found[0] == replace(
        GOOD, observations={"nlink": "3", "outcome": "mounted"}, left="mounts:1", dropped={"kmsg": 7}
    )
    assert found[1].started and not found[1].ended


def test_memory_is_bounded_whatever_the_guest_sends() -> None:
    def flood() -> list[Rec]:
        return [record("start", id="remount"), *[record("out", data="x" * 1024)] * 50_000]

    keys = [record("obs", key=f"k{i}", value="v") for i in range(5000)]
    lines = [record("kmsg", text="y" * 10_000)] * 5000
    trial = case_records([*flood(), *keys, *lines, record("obs", key="outcome", value="mounted")])[0]
    assert len(trial.output) == OUTPUT_LIMIT and trial.dropped["out"] == 50_000 * 1024 - OUTPUT_LIMIT
    assert len(trial.observations) <= 500 and sum(map(len, trial.kmsg)) < 10_000_000
    assert trial.outcomes == ("mounted",)


def test_what_is_too_long_or_too_many_is_counted() -> None:
    def dropped(*records: Rec) -> dict[str, int]:
        return dict(case_records([record("start", id="remount"), *records])[0].dropped)

    assert dropped(record("obs", key="k", value="v" * 8192), record("kmsg", text="y" * 8192)) == {}
    assert dropped(record("obs", key="k", value="v" * 8193)) == {"obs": 1}
    assert dropped(record("obs", key="k" * 9000, value="v")) == {"obs": 1}
    assert dropped(record("kmsg", text="y" * 8200)) == {"kmsg": 8}
    assert dropped(*[record("obs", key=f"k{n}", value="v") for n in range(501)]) == {"obs": 1}
    assert dropped(*[record("kmsg", text="y" * 8000)] * 70) == {"kmsg": 5 * 8000}
    assert dropped(*[record("kmsg", text="")] * 20_001) == {"kmsg": 1}
    assert dropped(*[record("kmsg", text="ab")] * 20_002) == {"kmsg": 4}
