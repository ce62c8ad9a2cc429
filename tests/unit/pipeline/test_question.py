"""The question's digest: every input there is, changed one by one."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from kmodpipe.cli.invocation import Invocation
from kmodpipe.cli.options import RunOptions
from kmodpipe.cli.resolve import resolve
from kmodpipe.pipeline import question
from kmodpipe.pipeline.run_spec import RunSpec
from tests.support import toy
from tests.support.mutation import Way, fields_of, hints, is_record, mutations, sample
from tests.support.toy import World


# -- the records --------------------------------------------------------------------------------------
def exempt(way: Way) -> str:
    """Why no verdict depends on an input; empty if one may."""
    found = (question.EXEMPT.get(record, {}).get(name, "") for record, name in way)
    return next(filter(None, found), "")


def test_every_input_is_part_of_the_question_or_exempt_for_a_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec: RunSpec = sample(RunSpec, tmp_path)
    before, shared = question.facts(spec), question.comparable(spec)
    assert question.facts(sample(RunSpec, tmp_path / "again")) == before, "places are part of the question"
    missed, counts, seen = [], Counter[str](), set()
    for way, other in mutations(spec, tmp_path):
        name = ".".join(f"{record.__name__}.{field}" for record, field in way[-1:])
        seen.add(way[-1])
        reason = exempt(way)
        counts["exempt" if reason else "inputs"] += 1
        if (question.facts(other) == before) != bool(reason):
            missed.append(f"{name}: {'is exempt, and counts' if reason else 'is missed'} by --if-changed")
        of_a_job = way[0][1] in question.OF_A_JOB
        if (question.comparable(other) == shared) != (bool(reason) or of_a_job):
            missed.append(f"{name}: {'is exempt, and counts' if reason else 'is missed'} by collect")
    told = f"{counts['inputs']} inputs changed, {len(missed)} missed; {counts['exempt']} exempt"
    with capsys.disabled():
        sys.stdout.write(f"\n[the question: {told}]")
    assert not missed, missed
    assert counts["inputs"] > 150
    # Each leaf field of each record that can be reached was among them.
    assert {field for field in reachable(RunSpec) if field not in seen} == set()


def reachable(record: type, known: set[type] | None = None) -> set[tuple[type, str]]:
    """The fields of a record and of all records in it that hold no records themselves."""
    known = known if known is not None else set()
    if record in known:
        return set()
    known.add(record)
    found: set[tuple[type, str]] = set()
    for name, hint in hints(record).items():
        inner = [one for one in flat(hint) if is_record(one)]
        found |= {(record, name)} if not inner else set()
        for one in inner:
            found |= reachable(one, known)
    return found


def flat(hint: object) -> list[type]:
    inner = [one for arg in getattr(hint, "__args__", ()) for one in flat(arg)]
    return inner or ([hint] if isinstance(hint, type) else [])


def test_what_is_exempt_is_there_and_has_a_reason() -> None:
    for record, names in question.EXEMPT.items():
        assert set(names) <= set(fields_of(record)), record
        assert all(len(reason) > 10 for reason in names.values())
    assert set(question.OF_A_JOB) <= set(fields_of(RunSpec))


def test_a_value_of_an_unknown_kind_is_refused() -> None:
    with pytest.raises(TypeError, match="a function in a run's question"):
        question.plain({"a": test_what_is_exempt_is_there_and_has_a_reason})


Answers = tuple[Mapping[str, str], Mapping[str, str], Mapping[str, str]]


# -- the files ----------------------------------------------------------------------------------------
FLAVOURS = """
[flavours.more]
summary = "two processors"
fragments = ["more.config"]
env = { KIND = "one" }
memory_mib = 128
cpus = 2
slow = 2
devices = ["virtio-net"]
cmdline = "quiet"
parameters = { toy = "index=1" }
base_make = { KCSAN_SANITIZE = "n" }
"""
BENIGN = """\
[[benign]]
kind = "WARNING"
title = "WARNING in toy_fill_super"
reason = "the toy warns in all its boots"
"""


@dataclass(frozen=True)
class Edit:
    """One edit of a project's file: the text that is replaced, or what is done to the file."""

    file: str
    old: str = ""
    new: str = ""
    does: Callable[[Path], object] = lambda path: None

    def make(self, root: Path) -> None:
        path = root / self.file
        if self.old:
            assert self.old in path.read_text(), self
            path.write_text(path.read_text().replace(self.old, self.new))
        self.does(path)


def append(path: Path) -> None:
    path.write_text(path.read_text() + "\n# edited\n")


def executable(path: Path) -> None:
    path.chmod(path.stat().st_mode ^ 0o111)


MATRIX, SERIES, CASE = "kconfigs/matrix.toml", "patches/toy-fix/series.toml", "images/guest/cases/remount"
EDITS = {
    "design": Edit(SERIES, "module", 'design = "another"\nmodule'),
    "axes": Edit(SERIES, "module", 'axes = { NOUUID = "TOY_FS_INDEX" }\nmodule'),
    "patch": Edit("patches/toy-fix/0001-toy-mount.patch", "+outcome: mounted", "+outcome: EINVAL"),
    "cpus": Edit(MATRIX, "cpus = 2", "cpus = 1"),
    "base_make": Edit(MATRIX, 'KCSAN_SANITIZE = "n"', 'KCSAN_SANITIZE = "y"'),
    "memory": Edit(MATRIX, "memory_mib = 128", "memory_mib = 256"),
    "slow": Edit(MATRIX, "slow = 2", "slow = 3"),
    "devices": Edit(MATRIX, '["virtio-net"]', '["e1000"]'),
    "parameters": Edit(MATRIX, "index=1", "index=2"),
    "cmdline": Edit(MATRIX, '"quiet"', '"debug"'),
    "env": Edit(MATRIX, 'KIND = "one"', 'KIND = "two"'),
    "axis symbol": Edit(MATRIX, '"TOY_FS_NOUUID"', '"TOY_FS_OTHER"'),
    "axis value": Edit(MATRIX, '"TOY_FS_NOUUID"', '"TOY_FS_NOUUID"\nvalues = ["y", "n", "m"]'),
    "base": Edit(MATRIX, "tinyconfig", "defconfig"),
    "fragment": Edit("kconfigs/guest.config", "CONFIG_64BIT=y", "# CONFIG_64BIT is not set"),
    "fragment of a flavour": Edit("kconfigs/more.config", "=y", "=m"),
    "deadline": Edit("pyproject.toml", "boot_s = 20", "boot_s = 21"),
    "another deadline": Edit("pyproject.toml", "boot_s = 20", "boot_s = 20\npanic_grace_s = 9"),
    "benign report": Edit("kconfigs/benign.toml", "toy_fill_super", "toy_remount"),
    "benign flavour": Edit("kconfigs/benign.toml", "reason", 'flavours = ["more"]\nreason'),
    "benign no more": Edit("pyproject.toml", 'benign = "kconfigs/benign.toml"\n', " "),
    "expected outcome": Edit(f"{CASE}/case.toml", 'outcome = "mounted"', 'outcome = "EINVAL"'),
    "expected observation": Edit(f"{CASE}/case.toml", "reason", 'observe = { a = "b" }\nreason'),
    "known defect": Edit(f"{CASE}/case.toml", "reason", "defect = true\nreason"),
    "forbidden message": Edit(f"{CASE}/case.toml", "reason", 'no_kmsg = "toy"\nreason'),
    "goal": Edit(f"{CASE}/case.toml", 'goal = "mounted"', 'goal = "ESTALE"'),
    "need": Edit(f"{CASE}/case.toml", "goal", 'needs = ["TOY_FS"]\ngoal'),
    "needed program": Edit(f"{CASE}/case.toml", "goal", 'needs = ["bash"]\ngoal'),
    "tools": Edit(f"{CASE}/case.toml", "goal", 'tools = ["bash"]\ngoal'),
    "tools of a flavour": Edit(MATRIX, "cpus = 2", 'cpus = 2\ntools = ["bash"]'),
    "a file that it brings": Edit(f"{CASE}/data/file", does=append),
    "a file more that it brings": Edit(f"{CASE}/data/more", does=lambda path: path.write_text("more")),
    "who may run what it brings": Edit(f"{CASE}/prog", does=executable),
    "no file that it brings": Edit(f"{CASE}/case.toml", 'files = ["data", "prog"]', 'files = ["data"]'),
    "time limit": Edit(f"{CASE}/case.toml", "timeout_s = 5", "timeout_s = 6"),
    "argument": Edit(f"{CASE}/case.toml", "goal", 'args = ["a"]\ngoal'),
    "alone": Edit(f"{CASE}/case.toml", "goal", "alone = true\ngoal"),
    "script": Edit(f"{CASE}/run.sh", does=append),
    "library": Edit("images/guest/lib.sh", does=append),
    "recipe of the guest": Edit("images/guest/recipe.sh", does=append),
    "rights of a recipe": Edit("images/guest/recipe.sh", does=executable),
    "recipe behind a link": Edit("elsewhere", does=append),
    "a file more in the guest": Edit("images/guest/agent.c", does=lambda path: path.write_text("int a;")),
    "recipe of the builder": Edit("images/builder/Dockerfile", does=append),
}
# What a line of text for people says, and where a file is: the same question.
ALIKE = {
    "summary of the series": Edit(SERIES, "makes it mount", "mounts it"),
    "summary of a flavour": Edit(MATRIX, "two processors", "2 processors"),
    "summary of a case": Edit(f"{CASE}/case.toml", "mounts again", "is mounted again"),
    "reason": Edit(f"{CASE}/case.toml", "makes it mount", "mounts it"),
    "comment of the matrix": Edit(MATRIX, does=append),
    "line of a fragment": Edit("kconfigs/guest.config", "CONFIG_64BIT", "# more bits\nCONFIG_64BIT"),
}


def project(root: Path) -> World:
    world = toy.build(root)
    (world.root / MATRIX).write_text((world.root / MATRIX).read_text() + FLAVOURS)
    (world.root / "kconfigs/more.config").write_text("CONFIG_TOY_FS_INDEX=y\n")
    (world.root / "kconfigs/benign.toml").write_text(BENIGN)
    text = (world.root / "pyproject.toml").read_text()
    declared = text.replace("[tool.kmodpipe]\n", '[tool.kmodpipe]\nbenign = "kconfigs/benign.toml"\n')
    (world.root / "pyproject.toml").write_text(declared)
    case = world.root / CASE
    (case / "data").mkdir()
    (case / "data/file").write_text("data")
    (case / "prog").write_text("#!/bin/sh\n")
    declared = (case / "case.toml").read_text().replace("goal", 'files = ["data", "prog"]\ngoal', 1)
    (case / "case.toml").write_text(declared)
    (world.root / "elsewhere").write_text("# a recipe\n")
    (world.root / "images/guest/linked.sh").symlink_to(world.root / "elsewhere")
    return world


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """A project in which each edit is undone."""
    return project(tmp_path_factory.mktemp("edited"))


def edited(world: World, edit: Edit) -> tuple[Answers, Answers]:
    """What is asked before an edit, and after it."""
    path, before = world.root / edit.file, asked(world)
    content = path.read_bytes() if path.exists() else None
    mode = path.stat().st_mode if path.exists() else 0
    edit.make(world.root)
    try:
        return before, asked(world)
    finally:
        if content is None:
            path.unlink()
        else:
            path.write_bytes(content)
            path.chmod(mode)


def asked(world: World) -> Answers:
    """What --if-changed compares, and what collect does."""
    spec = resolve(RunOptions(flavour=("all",)), Invocation(world.root), cases_too=True)
    return question.facts(spec), question.comparable(spec), question.case_facts(spec)


@pytest.mark.parametrize("name", EDITS)
def test_an_edit_that_can_change_a_verdict_is_seen(name: str, world: World) -> None:
    (facts, shared, _), (now, shared_now, _) = edited(world, EDITS[name])
    assert facts != now, "by --if-changed"
    assert shared != shared_now, "by collect"


@pytest.mark.parametrize("name", ALIKE)
def test_an_edit_that_cannot_is_not(name: str, world: World) -> None:
    before, after = edited(world, ALIKE[name])
    assert before == after


def test_another_checkout_of_the_same_asks_the_same(tmp_path: Path) -> None:
    one, two = project(tmp_path / "one"), project(tmp_path / "two")
    # Only the tree's path differs, which is a tree of its own with an identity.
    assert asked(one) == asked(two)
    os.utime(two.root / MATRIX, (0, 0))
    assert asked(one) == asked(two)
