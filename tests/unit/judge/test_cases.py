"""Case definitions: every field, whose values are refused, and which rule speaks of which cell."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from kmodpipe.judge import cases
from kmodpipe.judge.cases import Case, Expectation
from kmodpipe.judge.precedence import Default
from kmodpipe.util.errors import UserError
from tests.support.sample_case import CASE, CONTROL, LAYERED, NOUUID, POSTED, SETTING

CASE_TOML = """
[[case]]
id = "remount"
summary = "The disk's UUID changes between two mounts."
script = "run.sh"
args = ["index=on"]
timeout_s = 30
goal = "mounted"
needs = ["EXT4_FS"]
[[case.expect]]
when = { design = "index-nouuid", INDEX = "y", NOUUID = ["y", "m"] }
outcome = "mounted"
reason = "the UUID is not compared"
[[case.expect]]
when = { design = "index-nouuid", INDEX = "n" }
outcome = "hardlinks-split"
defect = true
kmsg = "falling back"
observe = { nlink = "2" }
reason = "the index entry's name holds the UUID"
[[case.expect]]
when = { design = "none" }
outcome = "ESTALE"
reason = "the origin's UUID is verified"
"""


def write_case(
    folder: Path, text: str, *, script: str = "#!/bin/sh\nexit 0\n", name: str = "remount"
) -> Path:
    place = folder / name
    place.mkdir(parents=True)
    (place / "case.toml").write_text(text)
    (place / "run.sh").write_text(script)
    return folder


def test_load_reads_every_field(tmp_path: Path) -> None:
    (case,) = cases.load(write_case(tmp_path, CASE_TOML))
    assert (case.id, case.args, case.timeout_s, case.goal) == ("remount", ("index=on",), 30, "mounted")
    assert case.path.read_text().startswith("#!")
    rule = case.expectation(replace(NOUUID, design="index-nouuid", choice={"INDEX": "y", "NOUUID": "m"}))
    assert rule is case.expect[0]
    # An axis that the cell does not have counts as n.
    rule = case.expectation(replace(NOUUID, design="index-nouuid", choice={}))
    assert rule and rule.defect and rule.kmsg == ("falling back",) and rule.observe == {"nlink": "2"}
    assert case.expectation(replace(NOUUID, design="another", choice={"INDEX": "y"})) is None
    assert case.unmet({"EXT4_FS": "m"}) == () and case.unmet({"EXT4_FS": "n"}) == ("EXT4_FS",)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('goal = "mounted"', "", "case.remount.goal: is missing"),
        ("timeout_s = 30", 'timeout_s = "30"', "case.remount.timeout_s"),
        (
            "timeout_s = 30",
            "timeout = 30",
            "case.remount.timeout: there is no such field; did you mean timeout_s",
        ),
        ('needs = ["EXT4_FS"]', 'needs = ["CONFIG_EXT4_FS"]', "case.remount.needs[1]"),
        ('script = "run.sh"', 'script = "../run.sh"', "case.remount.script"),
        ('script = "run.sh"', 'script = "gone.sh"', "no script 'gone.sh'"),
        ('outcome = "ESTALE"', "", "case.remount.expect[3].outcome: is missing"),
        ("defect = true", "defekt = true", "case.remount.expect[2].defekt"),
        ('observe = { nlink = "2" }', "observe = { nlink = 2 }", "case.remount.expect[2].observe.nlink"),
        ('NOUUID = ["y", "m"]', "NOUUID = []", "case.remount.expect[1].when.NOUUID"),
        ('id = "remount"', 'id = "Re mount"', "case.Re mount.id"),
        ("[[case]]", "[[case", "cannot be read"),
    ],
)
def test_bad_file_names_file_and_field(tmp_path: Path, old: str, new: str, told: str) -> None:
    assert old in CASE_TOML
    with pytest.raises(UserError) as e:
        cases.load(write_case(tmp_path, CASE_TOML.replace(old, new, 1)))
    assert told in str(e.value)
    assert "case.toml" in e.value.where


def test_watch_names_groups_of_messages(tmp_path: Path) -> None:
    text = CASE_TOML.replace('id = "remount"', 'id = "remount"\nwatch = ["fs-errors", "irq-errors"]', 1)
    assert cases.load(write_case(tmp_path, text))[0].watch == ("fs-errors", "irq-errors")
    with pytest.raises(UserError, match="did you mean fs-errors") as e:
        cases.load(write_case(tmp_path / "other", text.replace("fs-errors", "fs-error")))
    assert "case.remount.watch[1]" in str(e.value)


def test_ids_are_unique_and_an_empty_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no case is defined"):
        cases.load(tmp_path)
    write_case(tmp_path, CASE_TOML, name="a")
    write_case(tmp_path, CASE_TOML, name="b")
    with pytest.raises(UserError, match="used twice"):
        cases.load(tmp_path)


def test_select_and_axes(tmp_path: Path) -> None:
    loaded = cases.load(write_case(tmp_path, CASE_TOML))
    assert cases.select(loaded, []) == loaded == cases.select(loaded, ["remount"])
    with pytest.raises(UserError, match="did you mean remount"):
        cases.select(loaded, ["remont"])
    cases.check_axes(loaded, ["INDEX", "NOUUID"])
    with pytest.raises(UserError, match="unknown axis 'NOUUID'") as failure:
        cases.check_axes(loaded, ["INDEX", "NO_UUID"])
    assert re.search(r"/case\.toml:\d+, case remount$", failure.value.where)


def test_a_rule_may_speak_of_a_flavour_and_no_flavour_is_plain() -> None:
    def case(*flavours: str) -> Case:
        return replace(CASE, expect=(Expectation("mounted", "because", {"flavour": flavours}),))

    xfs = replace(NOUUID, flavour="xfs")
    assert [bool(case("xfs").expectation(w)) for w in (NOUUID, xfs)] == [False, True]
    assert [bool(case("plain").expectation(w)) for w in (NOUUID, xfs)] == [True, False]
    assert case("plain", "xfs").expectation(xfs) and CASE.expectation(xfs)
    cases.check_axes([case("plain", "xfs")], [], ["xfs"])
    with pytest.raises(UserError, match="unknown flavour 'xsf'; did you mean xfs"):
        cases.check_axes([case("xsf")], [], ["xfs"])


def test_digest_covers_what_runs_and_not_the_expectation(tmp_path: Path) -> None:
    (case,) = cases.load(write_case(tmp_path, CASE_TOML))
    first = case.digest(b"lib")
    assert replace(case, expect=(), goals=("x",), summary="y").digest(b"lib") == first
    others = {case.digest(b"lib2"), replace(case, args=("a",)).digest(b"lib")}
    case.path.write_text("#!/bin/sh\nexit 1\n")
    others.add(case.digest(b"lib"))
    assert len(others) == 3 and first not in others


def test_from_script(tmp_path: Path) -> None:
    script = tmp_path / "My Case!.sh"
    script.write_text("#!/bin/sh\n")
    case = cases.from_script(script)
    assert case.id == "my-case" and case.by_exit and case.path == script
    script.write_text("exit 0\n")
    with pytest.raises(UserError, match="neither with #!"):
        cases.from_script(script)
    for bad in (tmp_path, tmp_path / "gone.sh"):
        with pytest.raises(UserError, match=r"not a file|cannot be read"):
            cases.from_script(bad)


def test_rules_of_the_file_come_last_and_for_those_who_mention_it(tmp_path: Path) -> None:
    text = CASE_TOML + (
        '\n[[expect]]\nmentions = "index=on"\noutcome = "EINVAL"\nreason = "no such option"\n'
        '\n[[expect]]\nmentions = "uuid=off"\noutcome = "EPERM"\nreason = "nobody mentions this"\n'
    )
    (case,) = cases.load(write_case(tmp_path, text))
    strange = replace(CONTROL, design="somebody's", choice={"INDEX": "maybe"})
    rule = case.expectation(strange)
    assert rule is not None and rule.outcome == "EINVAL"
    assert all(rule.outcome != "EPERM" for rule in case.expect)


def test_a_default_hangs_on_axes_alone() -> None:
    by_flavour = replace(SETTING, defaults=(Default("on", {"flavour": ("plain",)}), Default("off")))
    with pytest.raises(UserError, match="unknown axis 'flavour'"):
        cases.check_axes([replace(LAYERED, settings=(by_flavour,))], ["INDEX"])
    cases.check_axes([LAYERED], ["INDEX"])


def test_the_script_is_given_the_product_of_its_design() -> None:
    assert LAYERED.arguments(NOUUID)[:3] == ("index", "default", "unset/none")
    assert LAYERED.arguments(POSTED) == ()
