"""`invoke check` in the toy world, where make, sparse, checkpatch and kernel-doc are played."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from junitparser import JUnitXml

from kmodpipe import results
from kmodpipe.cli import commands
from tests.support import REPO, toy
from tests.support.toy import Ran, World
from tests.support.trees import commit_all, git, write

SPARSE = r"""#!/bin/sh
for source; do :; done
grep -n BITWISE "$source" | while IFS=: read -r line _; do
    echo "$source:$line:1: warning: restricted toy"
done
"""
CHECKPATCH = r"""#!/usr/bin/env perl
my ($bad, $n) = (0, 0);
open(my $in, '<', $ARGV[-1]); my $file = '';
while (<$in>) {
    $n++;
    $file = $1 if /^\+\+\+ b\/(\S+)/;
    next unless /^\+(?!\+\+).*(UGLY|[ \t]$)/;
    $bad++;
    print "$file:$n: ERROR:UGLY: ugly\n";
}
print "total: $bad errors, 0 warnings, 0 checks, $n lines checked\n" if $bad;
exit($bad > 0);
"""
KERNEL_DOC = r"""#!/bin/sh
grep -n '@nothing' "$2" | while IFS=: read -r line _; do
    echo "$2:$line: warning: Excess function parameter"
done
"""
SOURCE = toy.TOY_C.splitlines()


def mail(number: int, line: str, text: str = "Why.\n\nSigned-off-by: toy <toy@localhost.invalid>\n") -> str:
    """A patch that puts one line before the end of toy.c, behind those of the patches before it."""
    at = len(SOURCE) + number - 1
    context = SOURCE[-2] if number == 1 else LINES[number - 2]
    return (
        f"From: toy <toy@localhost.invalid>\nSubject: [PATCH] toy: number {number}\n\n{text}---\n"
        f"--- a/fs/toy/toy.c\n+++ b/fs/toy/toy.c\n@@ -{at - 1},2 +{at - 1},3 @@\n {context}\n+{line}\n end\n"
    )


LINES = [
    "harmless",
    "WARNED by the compiler",
    "BITWISE for sparse",
    "UGLY for checkpatch",
    "@nothing for kernel-doc",
]


def series(world: World, *lines: str, **texts: str) -> None:
    """The series toy-many, with a patch for each line."""
    LINES[:] = lines
    folder = world.root / "patches/toy-many"
    folder.mkdir()
    for number, line in enumerate(lines, 1):
        (folder / f"{number:04}-toy.patch").write_text(mail(number, line, **texts))
    (folder / "series").write_text("".join(f"{n:04}-toy.patch\n" for n in range(1, len(lines) + 1)))
    (folder / "series.toml").write_text('summary = "many"\nmodule = "fs/toy"\n')


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = toy.build(tmp_path)
    for path, text in (
        (made.root / "bin/sparse", SPARSE),
        (made.tree / "scripts/checkpatch.pl", CHECKPATCH),
        (made.tree / "scripts/kernel-doc", KERNEL_DOC),
        (made.tree / "scripts/checkstack.pl", "while (<STDIN>) {}\n"),
    ):
        path.write_text(text)
        path.chmod(0o755)
    return made


def check(world: World, name: str = "toy-many", **asked: Any) -> Ran:
    return world.command(commands.check, series=[name], **asked)


def report(world: World) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((world.latest / "check.json").read_text())
    return found


def words(world: World) -> list[dict[str, str]]:
    """What each check says of each patch."""
    return [
        {
            one["check"]: "fails"
            if any(f["level"] != "note" for f in one["findings"])
            else one["not_checked"]
            for one in patch["outcomes"]
        }
        for patch in report(world)["series"][0]["patches"]
    ]


def failing(world: World) -> list[set[str]]:
    return [{check for check, word in patch.items() if word == "fails"} for patch in words(world)]


def test_each_finding_belongs_to_the_patch_that_brings_it(world: World) -> None:
    series(world, *LINES)
    ran = check(world)
    assert ran.code == 1, ran.text
    assert failing(world) == [set(), {"compiler"}, {"sparse"}, {"checkpatch"}, {"kernel-doc"}], ran.text
    answer = next(line for line in ran.out.splitlines() if line.startswith("toy-many: "))
    assert (
        answer
        == "toy-many: 4 of 5 patches bring something new: 1 compiler, 1 sparse, 1 checkpatch, 1 kernel-doc"
    )
    assert "  sparse: warning: fs/toy/toy.c:6: restricted toy [sparse warning]" in ran.out


def test_every_file_is_written_and_as_its_schema_says(world: World) -> None:
    series(world, "WARNED")
    ran = check(world, sarif=str(world.root / "s.sarif"), code_quality=str(world.root / "q.json"))
    assert ran.code == 1, ran.text
    folder = world.latest
    schemas = REPO / "docs" / "schemas"
    for name, file in (("check", "check.json"), ("results", "results.json")):
        schema = json.loads((schemas / f"{name}.schema.json").read_text())
        jsonschema.validate(json.loads((folder / file).read_text()), schema, jsonschema.Draft202012Validator)
    assert (world.root / "s.sarif").read_text() == (folder / "check.sarif").read_text()
    assert json.loads((world.root / "q.json").read_text())[0]["location"]["path"] == "fs/toy/toy.c"
    _, suite = JUnitXml.fromfile(str(folder / "junit.xml"))
    assert {case.name for case in suite if case.result} == {"compiler"}
    assert "unused variable" in (folder / "report.html").read_text()
    assert (world.root / "out/latest").resolve() == folder.resolve()
    assert results.load(folder / "results.json").properties["check"] == "yes"
    again = world.invoke("report", "--format", "mail")
    assert again.code == 0 and "I checked this series (toy-many)" in again.out, again.text


def test_what_did_not_change_is_not_compiled_again(world: World) -> None:
    series(world, "harmless", "harmless too")
    assert check(world).code == 0
    made = world.made()
    # The source before the series, and after each patch, in both of the cells that the tree allows.
    assert made.count("fs/toy/toy.ko") == 6
    again = check(world)
    assert again.code == 0 and world.made() == made, again.text
    assert "0 steps made" in again.out
    patch = world.root / "patches/toy-many/0002-toy.patch"
    patch.write_text(patch.read_text().replace("harmless too", "harmless as well"))
    assert check(world).code == 0
    assert world.made()[len(made) :].count("fs/toy/toy.ko") == 2


def test_a_patch_of_documentation_compiles_nothing(world: World) -> None:
    series(world, "harmless")
    folder = world.root / "patches/toy-many"
    head = mail(1, "").partition("--- a/")[0]
    text = f"{head}--- /dev/null\n+++ b/fs/toy/toy.rst\n@@ -0,0 +1,1 @@\n+words\n"
    (folder / "0002-doc.patch").write_text(text)
    (folder / "series").write_text("0001-toy.patch\n0002-doc.patch\n")
    assert check(world).code == 0
    assert world.made().count("fs/toy/toy.ko") == 4
    assert (
        report(world)["series"][0]["patches"][1]["outcomes"][4]["skipped"] == "the patch changes no C source"
    )


def test_a_patch_that_does_not_build_is_told_once(world: World) -> None:
    series(world, "BROKEN", "harmless")
    ran = check(world)
    assert ran.code == 1
    assert ran.out.count("does not build: 'BROKEN' undeclared") == 1, ran.text
    assert failing(world) == [{"builds"}, set()]
    assert words(world)[1]["compiler"] == "it does not build"


@pytest.mark.parametrize(
    ("broken", "check_id", "why"),
    [
        ("checkpatch.pl", "checkpatch", "the tree has no scripts/checkpatch.pl"),
        ("kernel-doc", "kernel-doc", "the tree has no scripts/kernel-doc"),
        ("checkstack.pl", "stack", "the tree has no scripts/checkstack.pl"),
    ],
)
def test_a_script_that_the_tree_lacks_is_told(world: World, broken: str, check_id: str, why: str) -> None:
    (world.tree / "scripts" / broken).unlink()
    series(world, "harmless")
    ran = check(world)
    assert (ran.code, words(world)[0][check_id]) == (3, why), ran.text
    assert why in ran.out and "nothing new that fails a check; not checked, wholly or in part" in ran.out


@pytest.mark.parametrize(
    ("script", "text", "check_id", "why"),
    [
        ("checkpatch.pl", "exit(0);\n", "checkpatch", "finds nothing in a wrong patch"),
        ("checkpatch.pl", "print 'rubbish'; exit(2);\n", "checkpatch", "status 2 and no total: 'rubbish'"),
        ("kernel-doc", "#!/bin/sh\n", "kernel-doc", "finds nothing in a comment that is wrong"),
        (
            "kernel-doc",
            "#!/bin/sh\nkill -SEGV $$\n",
            "kernel-doc",
            "finds nothing in a comment that is wrong",
        ),
        ("checkstack.pl", "print 'rubbish';\n", "stack", "checkstack printed 'rubbish'"),
    ],
)
def test_a_tool_that_crashes_or_prints_rubbish_is_never_clean(
    world: World, script: str, text: str, check_id: str, why: str
) -> None:
    (world.tree / "scripts" / script).write_text(text)
    series(world, "harmless")
    ran = check(world)
    assert ran.code == 3 and why in words(world)[0][check_id], ran.text


def test_sparse_that_crashes_or_is_not_there_is_told(world: World) -> None:
    series(world, "harmless")
    (world.root / "bin/sparse").write_text("#!/bin/sh\nexit 139\n")
    assert check(world).code == 3
    assert words(world)[0]["sparse"] == "sparse ended with status 139 on fs/toy/toy.c"


def test_a_message_is_looked_at(world: World) -> None:
    series(world, "harmless", text="No name below.\n\nFixes: 0123456 (x)\n")
    ran = check(world)
    assert ran.code == 1 and failing(world) == [{"tags"}]
    assert "there is no Signed-off-by" in ran.out and "was not looked up: the tree is not from git" in ran.out


def test_a_bare_diff_has_no_message_to_look_at(world: World) -> None:
    series(world, "harmless")
    path = world.root / "bare.diff"
    path.write_text(mail(1, "harmless").partition("---\n")[2])
    ran = check(world, str(path), module="fs/toy")
    assert ran.code == 0, ran.text
    tags = next(one for one in report(world)["series"][0]["patches"][0]["outcomes"] if one["check"] == "tags")
    assert tags["skipped"] == "a bare diff has no message"


def test_on_github_findings_are_annotations_and_nothing_else_is_a_command(world: World) -> None:
    series(world, "WARNED ::error::forged")
    ran = world.invoke(
        "check", "--series", "toy-many", "--runtime", "host", timeout_s=300, GITHUB_ACTIONS="true"
    )
    lines = ran.out.splitlines()
    begin = next(line for line in lines if line.startswith("::stop-commands::"))
    end = f"::{begin.removeprefix('::stop-commands::')}::"
    outside = [*lines[: lines.index(begin)], *lines[lines.index(end) + 1 :]]
    assert [line for line in outside if line.startswith("::")] == [
        "::warning file=fs/toy/toy.c,line=4,title=compiler%2C patch 1::"
        "unused variable 'WARNED' [-Wunused-variable]"
    ]
    argv = ("check", "--series", "toy-many", "--runtime", "host", "--annotate", "none")
    quiet = world.invoke(*argv, timeout_s=300, GITHUB_ACTIONS="true")
    assert "::" not in quiet.out.replace("look closer:", "")


def test_json_is_one_document(world: World) -> None:
    series(world, "harmless")
    ran = world.invoke(
        "check", "--series", "toy-many", "--runtime", "host", "--json", timeout_s=300, GITHUB_ACTIONS="true"
    )
    assert ran.code == 0, ran.text
    assert json.loads(ran.out)["series"][0]["series"] == "toy-many"


def test_without_a_series_it_is_a_usage_error(world: World) -> None:
    ran = check(world, "none", module="fs/toy")
    assert ran.code == 2 and "no patch to check" in ran.text
    assert check(world, "toy-fix", annotate="gitlap").code == 2


def test_of_a_module_of_its_own_source_what_its_makefile_says_is_compared(world: World) -> None:
    matrix = 'base = "tinyconfig"\nmodule = { source = "../../module" }\nfragments = ["guest.config"]\n'
    root = world.root.parent / "module"
    write(world.root, {"kconfigs/matrix.toml": matrix})
    write(root, {"Kbuild": "obj-m := own.o\n", "own.c": "outcome: ESTALE\n"})
    commit_all(root, "first")
    git(root, "checkout", "-q", "-b", "topic")
    write(root, {"own.c": "outcome: ESTALE\nWARNED\n"})
    ran = world.command(commands.check)
    assert ran.code == 1 and failing(world) == [{"compiler"}], ran.text
    (patch,) = report(world)["series"][0]["patches"]
    skipped = {one["check"]: one["skipped"] for one in patch["outcomes"] if one["skipped"]}
    assert skipped.keys() == {"sparse", "includes", "stack", "size", "exports", "tags"}
    assert skipped["sparse"] == "a module of its own source is compiled as its own Makefile says"
