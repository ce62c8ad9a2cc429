"""What a build leaves for others: who may take it, and that nothing odd is kept."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from kmodpipe.build import reuse
from kmodpipe.build.reuse import OBJECTS, SETTINGS, Reused
from kmodpipe.util import paths

# As ccache names results.
NAME, ANOTHER, OLD = (letter * 33 for letter in "1fv")
CONFIG = 'CONFIG_A=y\n# CONFIG_B is not set\nCONFIG_S="a \\"word\\""\nCONFIG_N=7\n'
AUTO = "include/config/auto.conf"


class Build:
    """A build's folders, with one object and a configuration that it left."""

    def __init__(self, top: Path) -> None:
        self.left, self.folder = top / "left", top / "artifact"
        self.configuration = top / "cell.config"
        self.objects, self.settings = (self.left / name for name in (OBJECTS, SETTINGS))
        self.folder.mkdir()
        self.objects.mkdir(parents=True)
        self.configuration.write_text(CONFIG)
        (self.objects / NAME).write_text("an object")
        self.leave(AUTO, CONFIG)
        self.leave("include/generated/autoconf.h", "#define CONFIG_A 1\n")

    def leave(self, name: str, text: str) -> None:
        path = self.settings / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def kept(self, reused: Reused | None = None) -> set[str]:
        reuse.collect(self.left, self.folder, reused or Reused(), self.configuration)
        return {str(path.relative_to(self.folder)) for path in self.folder.rglob("*") if path.is_file()}


@pytest.fixture
def build(tmp_path: Path) -> Build:
    return Build(tmp_path)


KEPT_SETTINGS = {f"{SETTINGS}/{AUTO}", f"{SETTINGS}/include/generated/autoconf.h"}


def test_objects_and_settings_are_kept_with_plain_modes_and_nothing_else(build: Build) -> None:
    (build.objects / "CACHEDIR.TAG").write_text("x")
    (build.objects / NAME).chmod(0o6777)
    assert build.kept() == {f"{OBJECTS}/{NAME}", *KEPT_SETTINGS}
    assert (build.folder / OBJECTS / NAME).stat().st_mode & 0o7777 == 0o644


def test_where_every_object_was_taken_none_are_kept(build: Build, tmp_path: Path) -> None:
    seed = tmp_path / "seed"
    seed.mkdir()
    for name in (NAME, ANOTHER):
        (seed / name).touch()
    assert build.kept(Reused(objects=seed)) == KEPT_SETTINGS


def test_of_earlier_objects_as_many_are_kept_as_were_used_those_used_last(build: Build) -> None:
    for name, age_s in ((ANOTHER, 50), (OLD, 100)):
        (build.objects / name).write_text(name)
        then = build.configuration.stat().st_mtime - age_s
        os.utime(build.objects / name, (then, then))
    assert build.kept() == {f"{OBJECTS}/{NAME}", f"{OBJECTS}/{ANOTHER}", *KEPT_SETTINGS}


@pytest.mark.parametrize("written", ['"a \\"word\\""', 'a "word"'])
def test_kernels_write_strings_with_quotes_or_without(build: Build, written: str) -> None:
    build.leave(AUTO, f"CONFIG_A=y\nCONFIG_S={written}\nCONFIG_N=7\n")
    assert build.kept() >= KEPT_SETTINGS


@pytest.mark.parametrize(
    "other",
    ["CONFIG_A=y\n", CONFIG.replace("=7", "=8"), f"{CONFIG}CONFIG_B=y\n", CONFIG.replace("=y", "=m"), ""],
)
def test_settings_of_another_configuration_are_not_kept(build: Build, other: str) -> None:
    build.leave(AUTO, other)
    assert build.kept() == {f"{OBJECTS}/{NAME}"}


ODD: dict[str, Callable[[Path], object]] = {
    "a link to a file": lambda left: (left / ANOTHER).symlink_to("/etc/passwd"),
    "a hard link": lambda left: ((left / "x").write_text("x"), os.link(left / "x", left / ANOTHER)),
    "a pipe": lambda left: os.mkfifo(left / ANOTHER),
    "a link to a folder": lambda left: (left / "folder").symlink_to("/etc"),
}  # fmt: skip


@pytest.mark.parametrize("odd", ODD.values(), ids=ODD.keys())
@pytest.mark.parametrize("kind", [OBJECTS, SETTINGS])
def test_of_what_is_odd_nothing_is_kept(build: Build, kind: str, odd: Callable[[Path], object]) -> None:
    odd({OBJECTS: build.objects, SETTINGS: build.settings / "include"}[kind])
    assert build.kept() == (KEPT_SETTINGS if kind == OBJECTS else {f"{OBJECTS}/{NAME}"})


def test_of_too_many_files_or_folders_none_are_kept(build: Build) -> None:
    for number in range(4001):
        (build.objects / f"x{number}").touch()
    deep = build.settings
    for _ in range(1100):
        deep /= "d"
        deep.mkdir()
    assert build.kept() == KEPT_SETTINGS
    # pytest cannot.
    paths.remove(build.left)


def test_what_is_too_large_is_left(build: Build) -> None:
    os.truncate(build.objects / NAME, 33 << 20)
    build.leave("include/generated/large.h", "")
    os.truncate(build.settings / "include/generated/large.h", 33 << 20)
    assert build.kept() == set()


@pytest.mark.parametrize("kind", [OBJECTS, SETTINGS])
def test_a_link_in_the_place_of_a_folder_is_not_followed(build: Build, kind: str, tmp_path: Path) -> None:
    left = build.left / kind
    left.rename(tmp_path / "else")
    left.symlink_to(tmp_path / "else")
    assert not any(name.startswith(kind) for name in build.kept())


def test_a_build_that_left_nothing_is_one(tmp_path: Path) -> None:
    (tmp_path / "cell.config").write_text(CONFIG)
    reuse.collect(tmp_path, tmp_path / "artifact", Reused(), tmp_path / "cell.config")
    assert not (tmp_path / "artifact").exists()


INPUTS: dict[str, object] = {
    "base": "b", "source": {"f": "1"}, "configuration": "c", "targets": ["t"], "make variables": {"V": "1"},
    "recipe": [1, "r"],
}  # fmt: skip


def names(inputs: dict[str, object], configuring: dict[str, str] | None = None, **more: bool) -> reuse.Names:
    given = {"only_compiled": True, "kconfig_runs_nothing": True, **more}
    return reuse.names(inputs, configuring or {}, **given)


@pytest.mark.parametrize("name", INPUTS)
@pytest.mark.parametrize("only_compiled", [False, True])
def test_what_the_members_of_a_family_have_in_common(name: str, *, only_compiled: bool) -> None:
    ours = names(INPUTS, only_compiled=only_compiled)
    theirs = names({**INPUTS, name: "another"}, only_compiled=only_compiled)
    may_differ = {"configuration"} | ({"source", "targets"} if only_compiled else set())
    assert (ours.objects == theirs.objects) is (name in may_differ)
    assert (ours.settings == theirs.settings) is (name in may_differ - {"configuration"})
    assert (ours.source == theirs.source) is (name == "configuration")
    if only_compiled:
        assert ours.same != theirs.same


def test_settings_are_of_one_kconfig_too() -> None:
    ours, theirs = (names(INPUTS, {"Kconfig": text}) for text in ("a", "b"))
    assert ours.objects == theirs.objects and ours.settings != theirs.settings


def test_where_kconfig_runs_something_a_source_is_not_one() -> None:
    ours = names(INPUTS, kconfig_runs_nothing=False)
    assert (ours.source, ours.kindred, ours.same) == ("", "", "")


@pytest.mark.parametrize(
    ("files", "kindred"),
    [({"f": "2"}, True), ({"f": "1", "g": "1"}, False), ({}, False), ({"h": "1"}, False)],
)
def test_kindred_sources_have_the_same_files_and_differ_in_c(files: dict[str, str], *, kindred: bool) -> None:
    ours, theirs = (reuse_names(files_of, {"f"}) for files_of in (INPUTS["source"], files))
    assert ours.source != theirs.source
    assert (ours.kindred == theirs.kindred) is kindred
    assert (ours.same == theirs.same) is kindred
    assert reuse_names(files, set()).kindred != reuse_names(INPUTS["source"], set()).kindred


def reuse_names(files: object, sources: set[str]) -> reuse.Names:
    inputs = {**INPUTS, "source": files}
    return reuse.names(inputs, {}, sources, only_compiled=True, kconfig_runs_nothing=True)


def test_of_what_a_build_may_run_there_are_no_kindred() -> None:
    found = names(INPUTS, only_compiled=False)
    assert (found.kindred, found.same) == ("", "")
