"""Guests that lie: what a case prints, writes and takes makes no verdict better, and breaks nothing."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from tests.faults import forgery
from tests.faults.forgery import CELL, LIARS, NAMES, SCRIBBLES, Ran
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
    assert re.match("the .*[(]the script ended with exit status 1[)]$", ran.case("victim")["message"])


@pytest.mark.thorough
def test_what_is_written_over_through_a_mapping_is_not_believed(ran: Ran) -> None:
    for name in SCRIBBLES:
        assert ran.problems(name) == []
    assert "module:refused" in ran.case("scribbles-module")["evidence"]
    assert any("EKEYREJECTED" in value for value in ran.cell["properties"].values())
    for name in ("scribbled", "looks-in-vain"):
        assert ran.case(name)["verdict"] == "error"
        assert "not the script and lib.sh that were packed" in ran.case(name)["message"]


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
