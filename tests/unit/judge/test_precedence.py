"""The layered setting: the product is whole, and what each pair has to show follows from the one rule."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from kmodpipe.judge.precedence import Default, Setting, faults

SETTING = Setting(
    designs=("index-nouuid",),
    parameter="index",
    defaults=(
        Default("nouuid", {"INDEX": ("y",), "NOUUID": ("y",)}),
        Default("on", {"INDEX": ("y",)}),
        Default("off"),
    ),
    reads={"off": "0", "on": "1", "nouuid": "2"},
    accepts={"0": "off", "1": "on", "2": "nouuid"},
    aliases={"0x2": "nouuid"},
    refuses=("3", ""),
    options={"index=on": "on", "index=off": "off"},
    rejects=("index=bogus",),
    effects={
        "off": {"shown": "off", "stored": "real", "after": "mounted"},
        "on": {"shown": "on", "stored": "real", "after": "ESTALE"},
        "nouuid": {"shown": "nouuid", "stored": "real", "after": "mounted"},
    },
)
ON, OFF, NOUUID = {"INDEX": "y"}, {"INDEX": "n"}, {"INDEX": "y", "NOUUID": "y"}


def test_the_product_is_full_and_each_pair_is_there_once() -> None:
    pairs = SETTING.pairs()
    states = ["unset", *(f"{how}={value}" for how in ("load", "run") for value in ("0", "1", "2"))]
    options = ["none", "index=on", "index=off", "index=bogus"]
    assert {f"{s}/{o}" for s in states for o in options} <= set(pairs)
    assert {"load=0x2/none", "run=0x2/none", "load=3/none", "load=/none", "run=3/index=on"} <= set(pairs)
    assert len(pairs) == len(set(pairs))


def test_pairs_of_one_state_stand_together() -> None:
    states = [pair.partition("/")[0] for pair in SETTING.pairs()]
    changes = sum(a != b for a, b in itertools.pairwise(states)) + 1
    assert changes == len(set(states))


@pytest.mark.parametrize(
    ("pair", "choice", "expected"),
    [
        # Kconfig alone
        ("unset/none", ON, "set=- reads=1 mount=mounted shown=default stored=real after=ESTALE"),
        ("unset/none", OFF, "set=- reads=0 mount=mounted shown=default stored=real after=mounted"),
        ("unset/none", NOUUID, "set=- reads=2 mount=mounted shown=default stored=real after=mounted"),
        # the parameter over Kconfig, both ways
        ("run=1/none", NOUUID, "set=ok reads=1 mount=mounted shown=default stored=real after=ESTALE"),
        ("load=2/none", OFF, "set=ok reads=2 mount=mounted shown=default stored=real after=mounted"),
        ("run=0x2/none", ON, "set=ok reads=2 mount=mounted shown=default stored=real after=mounted"),
        # the option over both, both ways
        ("run=2/index=on", NOUUID, "set=ok reads=2 mount=mounted shown=on stored=real after=ESTALE"),
        ("unset/index=off", ON, "set=- reads=1 mount=mounted shown=off stored=real after=mounted"),
        ("run=1/index=on", OFF, "set=ok reads=1 mount=mounted shown=default stored=real after=ESTALE"),
        # what is refused changes nothing
        ("run=3/none", NOUUID, "set=refused reads=2 mount=mounted shown=default stored=real after=mounted"),
        ("run=/index=on", OFF, "set=refused reads=0 mount=mounted shown=on stored=real after=ESTALE"),
        ("load=3/none", ON, "set=refused reads=-"),
        ("run=0/index=bogus", ON, "set=ok reads=0 mount=EINVAL"),
    ],
)
def test_the_rule(pair: str, choice: dict[str, str], expected: str) -> None:
    assert SETTING.expected(pair, choice) == expected


def test_comparing_names_what_differs() -> None:
    observed = {pair: SETTING.expected(pair, ON) for pair in SETTING.pairs()}
    assert {s.verdict for s in SETTING.compare(observed, ON)} == {"pass"}
    observed["run=2/none"] = observed["run=2/none"].replace("after=mounted", "after=ESTALE")
    del observed["unset/none"]
    wrong = {s.name: s.note for s in SETTING.compare(observed, ON) if s.verdict == "fail"}
    assert set(wrong) == {"run=2/none", "unset/none"}
    assert wrong["run=2/none"].startswith("expected after=mounted; observed set=ok reads=2")
    assert wrong["unset/none"].startswith("not observed")


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"accepts": {"0": "of"}}, "accepts has the value 'of'"),
        ({"defaults": (Default("on", {"INDEX": ("y",)}),)}, "the last default holds everywhere"),
        ({"refuses": ("0",)}, "stands twice"),
        ({"aliases": {"a/b": "on"}}, "holds a slash"),
        ({"effects": {"on": {"shown": "on"}}}, "not about the same values"),
    ],
)
def test_faults_of_a_setting(change: dict[str, object], fault: str) -> None:
    assert any(fault in found for found in faults(replace(SETTING, **change)))


def test_a_sound_setting_has_no_faults() -> None:
    assert list(faults(SETTING)) == []
