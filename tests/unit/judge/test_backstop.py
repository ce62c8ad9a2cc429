"""Traces of an error are explained by the benign reports that left them, and by no others."""

from __future__ import annotations

import pytest

from kmodpipe.judge.backstop import unheard
from kmodpipe.logs.evidence import KernelReport
from kmodpipe.logs.kernel_log import Kind


def benign(*kinds: Kind) -> list[KernelReport]:
    return [KernelReport(kind.value, f"{kind.value} in foo", benign="it is known") for kind in kinds]


@pytest.mark.parametrize("letters", ["W", "D", "B", "M", "L", "OW", "EW", "?", "Z"])
def test_a_taint_without_a_report_is_found(letters: str) -> None:
    assert unheard(f"taint:{letters},module:busy", [], {}) == f"taint:{letters[-1]}"


@pytest.mark.parametrize(
    "left", ["", "module:busy", "taint:O", "taint:OE", "taint:N", "taint:PFSRUACIOEKXTN"]
)
def test_what_is_no_error_is_not(left: str) -> None:
    assert unheard(left, [], {}) == ""


@pytest.mark.parametrize(
    ("kind", "left"),
    [
        (Kind.WARNING, "taint:W"),
        (Kind.OOPS, "taint:D,lockdep:off"),
        (Kind.KASAN, "taint:B,lockdep:off"),
        (Kind.LOCKDEP, "lockdep:off"),
        (Kind.SOFT_LOCKUP, "taint:L"),
        (Kind.REFCOUNT, "taint:W"),
    ],
)
def test_a_benign_report_explains_what_it_left(kind: Kind, left: str) -> None:
    assert unheard(left, benign(kind), {}) == ""


def test_a_benign_report_explains_nothing_else() -> None:
    assert unheard("taint:DW", benign(Kind.WARNING), {}) == "taint:D"
    assert unheard("taint:W,lockdep:off", benign(Kind.WARNING), {}) == "lockdep:off"
    assert unheard("taint:W", benign(Kind.HUNG_TASK, Kind.WATCHED), {}) == "taint:W"


def test_a_second_report_with_the_same_taint_may_have_been_dropped() -> None:
    assert unheard("taint:W", benign(Kind.WARNING), {"out": 5}) == ""
    assert "5 bytes of kernel messages" in unheard("taint:W", benign(Kind.WARNING), {"kmsg": 5})
