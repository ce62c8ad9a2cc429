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
from kmodpipe.vm.guest_root import GuestRoot
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
        ('needs = ["EXT4_FS"]', 'needs = ["CONFIG_Ext4"]', "case.remount.needs[1]: neither a symbol nor"),
        ('needs = ["EXT4_FS"]', 'needs = ["a b"]', "case.remount.needs[1]"),
        ('needs = ["EXT4_FS"]', 'tools = ["Bash"]', "case.remount.tools[1]: a set of tools or a package"),
        ('needs = ["EXT4_FS"]', 'tools = ["--all"]', "case.remount.tools[1]"),
        ('needs = ["EXT4_FS"]', 'files = "data"', "case.remount.files: takes a list of names, not text"),
        ('needs = ["EXT4_FS"]', 'files = ["gone"]', "the case's file gone does not exist"),
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


def test_needs_are_symbols_and_programs(tmp_path: Path) -> None:
    needs = 'needs = ["EXT4_FS", "bash", "CONFIG_USER_NS", "/bin/sh"]'
    (case,) = cases.load(write_case(tmp_path, CASE_TOML.replace('needs = ["EXT4_FS"]', needs)))
    assert (case.needs, case.programs) == (("EXT4_FS", "USER_NS"), ("bash", "/bin/sh"))
    assert case.unmet({"EXT4_FS": "y"}) == ("USER_NS",)
    guest = GuestRoot({"/bin/sh": ""})
    assert case.beyond_the_shell and case.lacking(replace(NOUUID, guest=guest)) == ("bash",)
    assert case.lacking(replace(NOUUID, guest=GuestRoot({"/bin/sh": "", "/sbin/bash": ""}))) == ()
    assert not replace(case, programs=()).beyond_the_shell


def test_tools_are_of_the_case_and_of_its_script(tmp_path: Path) -> None:
    folder = write_case(tmp_path, CASE_TOML.replace("args =", 'tools = ["bash", "libstdc++6"]\nargs =', 1))
    script = folder / "remount/run.sh"
    script.write_text("#!/bin/bash\n# tools: attr bash\n")
    (case,) = cases.load(folder)
    assert case.tools == ("bash", "libstdc++6", "attr")
    assert cases.from_script(script).tools == ("attr", "bash")
    assert case.digest() != replace(case, tools=()).digest()


def test_files_are_part_of_what_a_case_does(tmp_path: Path) -> None:
    folder = write_case(tmp_path, CASE_TOML)
    (before,) = cases.load(folder)
    (folder / "remount/data").write_text("one")
    text = CASE_TOML.replace("args =", 'files = ["data", "run.sh"]\nargs =', 1)
    (folder / "remount/case.toml").write_text(text)
    (case,) = cases.load(folder)
    assert [file.name for file in case.files] == ["data"], "the script is there anyway"
    digests = [before.digest(), case.digest()]
    (folder / "remount/data").write_text("two")
    digests.append(case.digest())
    assert len(set(digests)) == 3


def test_a_file_that_cannot_be_brought_is_named_with_its_line(tmp_path: Path) -> None:
    text = CASE_TOML.replace("args =", 'files = ["data", "out"]\nargs =', 1)
    folder = write_case(tmp_path, text)
    (folder / "remount/data").write_text("")
    (folder / "remount/out").symlink_to("/etc/passwd")
    with pytest.raises(UserError, match="out is a link out of the case's folder") as e:
        cases.load(folder)
    line = 1 + text.splitlines().index('files = ["data", "out"]')
    assert e.value.where == f"{folder}/remount/case.toml:{line}"


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
