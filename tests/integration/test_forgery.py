"""Guests that lie: what a case prints, writes and takes makes no verdict better, and breaks nothing."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from tests.faults import forgery
from tests.faults.forgery import CELL, DROWNS, LIARS, NAMES, SCRIBBLES, Ran
from tests.integration.conftest import require, require_machinery

pytestmark = [pytest.mark.integration, pytest.mark.timeout(2400)]


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    require_machinery()
    require(shutil.which("gcc") is not None, "no C compiler")
    return forgery.run(forgery.make_project(tmp_path_factory.mktemp("forgery")))


def test_a_lie_in_the_words_of_the_agent_is_no_pass(tmp_path: Path) -> None:
    require_machinery()
    require(shutil.which("gcc") is not None, "no C compiler")
    ran = forgery.run(forgery.make_project(tmp_path), "--case", "port")
    assert ran.problems("port") == []
    assert ran.code == 1, ran.text


@pytest.mark.thorough
@pytest.mark.parametrize("name", NAMES)
def test_no_lie_is_a_pass(ran: Ran, name: str) -> None:
    assert ran.problems(name) == []
    assert ran.code == 1, ran.text


@pytest.mark.thorough
@pytest.mark.parametrize("name", ["stdout", "stderr", "console", "serial", "port", "kmsg"])
def test_words_alone_do_not_even_change_why_a_case_fails(ran: Ran, name: str) -> None:
    found = ran.case(name)
    assert found["verdict"] == "fail"
    assert found["message"].startswith("the script ended with exit status 1"), found["message"]


@pytest.mark.thorough
def test_what_is_written_over_is_noticed_and_the_next_case_gets_a_fresh_guest(ran: Ran) -> None:
    assert "files:changed" in ran.case("rewrites")["evidence"]
    assert ran.case("victim")["message"].startswith("the script ended with exit status 1: the")


@pytest.mark.thorough
def test_what_is_written_over_through_a_mapping_is_named_and_the_next_case_gets_a_fresh_guest(
    ran: Ran,
) -> None:
    for name, (path, _, _) in SCRIBBLES.items():
        assert ran.problems(name) == []
        evidence = ran.case(name)["evidence"]
        assert "files:changed" in evidence and f"differs:{path}" in evidence
    for name in ("scribbled", "runs-program"):
        assert ran.case(name)["message"].startswith("the script ended with exit status 1")


@pytest.mark.thorough
def test_what_was_left_is_named_and_the_next_case_never_finds_it(ran: Ran) -> None:
    assert "module:reloaded" in ran.case("swaps-module")["evidence"]
    assert "/dev/kmsg" in ran.case("swaps-kmsg")["evidence"]
    assert "differs:/proc/sys/kernel/modprobe" in ran.case("sets-helper")["evidence"]
    for name in ("mounts-swapped", "called-helper"):
        assert ran.case(name)["message"].startswith("the script ended with exit status 1")
    assert "out of memory" in ran.case("out-of-memory")["message"]


@pytest.mark.thorough
@pytest.mark.parametrize("name", DROWNS)
def test_dropped_evidence_is_no_evidence(ran: Ran, name: str) -> None:
    assert ran.case(name)["message"].startswith("no verdict: at least ")


@pytest.mark.thorough
def test_the_nonce_is_out_of_reach(ran: Ran) -> None:
    console = ran.logs("console")
    assert b"STOLEN" not in console and b"TRACED" not in console
    # The attacks really took place.
    assert b"thief: run by the kernel" in console
    assert re.search(rb"thief: heard record \d+", console)
    packed = b"".join(p.read_bytes() for p in (ran.folder / CELL).glob("cell*.cpio"))
    nonces = re.findall(rb"nonce ([0-9a-f]{32})\n", packed)
    assert len(nonces) >= len(LIARS)
    for nonce in nonces:
        assert nonce not in console and nonce not in ran.logs("verdict")
        assert nonce.decode() not in (ran.folder / "results.json").read_text() + ran.text


@pytest.mark.thorough
def test_the_files_the_terminal_and_the_memory_are_whole(ran: Ran) -> None:
    assert list(forgery.file_problems(ran)) == []
