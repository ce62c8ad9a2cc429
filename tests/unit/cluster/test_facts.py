"""What a worker is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kmodpipe.cluster import facts
from kmodpipe.cluster.facts import Facts, Wanted


def test_a_machine_with_other_code_is_no_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KMODPIPE_CACHE", str(tmp_path))
    own = Wanted(facts.own_program(), runtime="host", boots=False)
    found = facts.look("one", 4, own)
    assert found.trouble == "" and found.threads == 4
    assert found.disk_mib > 0 and found.memory_mib > 0
    assert found.resources[own.resource] > 0
    other = facts.look("one", 4, Wanted("another", runtime="host", boots=False))
    assert "other code" in other.trouble


def test_a_cache_that_cannot_be_written_is_trouble(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("KMODPIPE_CACHE", str(tmp_path / "file"))
    found = facts.look("one", 1, Wanted(facts.own_program(), runtime="host", boots=False))
    assert "cache" in found.trouble


def test_work_of_another_kind_takes_another_worker() -> None:
    asked = [
        Wanted("p", runtime=runtime, boots=boots) for runtime in ("docker", "host") for boots in (True, False)
    ]
    assert len({one.resource for one in asked}) == 4


def test_facts_travel_as_json() -> None:
    found = Facts("one", "host", "1", "ab", "x86_64", 2, 300, 4000, "/c", accel="kvm")
    assert facts.parse(found.to_json(), "tcp://a") == found
    assert found.resources["kvm"] == 1 and found.resources["arch-x86_64"] >= 1


@pytest.mark.parametrize(
    "answer",
    [
        ImportError("No module named 'kmodpipe.cluster'"),
        b"{",
        b"[]",
        json.dumps({"name": "x"}).encode(),
        "text",
    ],
)
def test_what_is_no_answer_is_trouble_and_no_exception(answer: object) -> None:
    found = facts.parse(answer, "tcp://a:1")
    assert found.trouble and found.name == "tcp://a:1"
