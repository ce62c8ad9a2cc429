"""The host runtime: the same recipes, with this machine's own tools."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from kmodpipe.build.runtime import REPRODUCIBLE, Folder, HostRuntime, Job
from kmodpipe.util import process
from kmodpipe.util.errors import InfraError, Interrupted
from tests.support.processes import gone


@pytest.fixture(autouse=True)
def not_stopping() -> Iterator[None]:
    with process.Children().collecting():
        yield


def job(tmp_path: Path, script: str, *, timeout_s: float = 20, **env: str) -> Job:
    recipe = tmp_path / "recipe"
    recipe.mkdir(exist_ok=True)
    (recipe / "do.sh").write_text(script)
    folders = [Folder("RECIPE", recipe)]
    for name, may_write in (("SRC", False), ("OBJ", True), ("OUT", True)):
        (tmp_path / name.lower()).mkdir(exist_ok=True)
        folders.append(Folder(name, tmp_path / name.lower(), writable=may_write))
    return Job("a job", "do.sh", tuple(folders), tmp_path / "logs" / "a" / "job.log", timeout_s, env)


def test_a_recipe_finds_its_folders_and_settings_by_name(tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "file").write_text("hello\n")
    ended = HostRuntime().run(job(tmp_path, 'cp "$SRC/file" "$OUT/"; echo "$OBJ $JOBS"', JOBS="2"))
    assert ended.status == 0
    assert ended.tail == f"{tmp_path / 'obj'} 2"
    assert (tmp_path / "out" / "file").read_text() == "hello\n"


def test_what_would_make_objects_differ_is_fixed_and_the_callers_is_kept_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (
        "KBUILD_BUILD_USER",
        "KBUILD_BUILD_TIMESTAMP",
        "MAKEFLAGS",
        "CROSS_COMPILE",
        "KCFLAGS",
        "LC_ALL",
    ):
        monkeypatch.setenv(name, "the caller's")
    ended = HostRuntime().run(job(tmp_path, "env", LC_ALL="C"))
    env = dict(line.split("=", 1) for line in (tmp_path / "logs/a/job.log").read_text().splitlines())
    assert ended.status == 0
    assert "the caller's" not in env.values()
    assert env["LC_ALL"] == "C"
    assert {name: env.get(name) for name in REPRODUCIBLE} == {**REPRODUCIBLE, "LC_ALL": "C"}


def test_a_recipes_failure_is_its_status_and_the_log_has_both_streams(tmp_path: Path) -> None:
    lines: list[str] = []
    ended = HostRuntime().run(job(tmp_path, "echo out; echo err >&2; exit 7"), lines.append)
    assert ended.status == 7
    assert sorted(lines) == sorted(ended.tail.splitlines()) == ["err", "out"]
    assert sorted((tmp_path / "logs/a/job.log").read_text().splitlines()) == ["err", "out"]


def test_a_recipe_that_is_killed_or_never_ends_is_our_trouble(tmp_path: Path) -> None:
    with pytest.raises(InfraError, match="a job was killed by SIGKILL") as caught:
        HostRuntime().run(job(tmp_path, "echo last words; kill -9 $$"))
    assert caught.value.detail == "last words"
    assert caught.value.where == f"log: {tmp_path / 'logs/a/job.log'}"
    with pytest.raises(InfraError, match=r"no end after 0\.3 s"):
        HostRuntime().run(job(tmp_path, "sleep 60", timeout_s=0.3))


def test_an_interruption_ends_the_recipe_and_what_it_started(tmp_path: Path) -> None:
    threading.Timer(0.4, process.children().stop_all).start()
    started = time.monotonic()
    with pytest.raises(Interrupted):
        HostRuntime().run(job(tmp_path, 'sleep 60 & echo $! > "$OUT/pid"; wait'))
    assert time.monotonic() - started < 10
    assert gone(int((tmp_path / "out" / "pid").read_text()))


def test_the_tools_that_compile_are_its_identity_and_a_missing_one_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tools = ("gcc", "ld", "make", "flex", "bison", "bc")
    for tool in tools:
        (tmp_path / tool).write_text(f"#!/bin/sh\necho {tool} 1.2\necho more\n")
        (tmp_path / tool).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/sbin-less:/bin")
    assert HostRuntime().identity() == {"runtime": "host", **{t: f"{t} 1.2" for t in tools}}
    # A module needs no more than the compiler that its kernel's headers ask for.
    with pytest.raises(InfraError, match="headers ask for gcc-14, which is not installed"):
        HostRuntime("gcc-14").identity()
    (tmp_path / "gcc").rename(tmp_path / "gcc-14")
    assert [*HostRuntime("gcc-14").identity()] == ["runtime", "gcc-14", "ld", "make"]
    monkeypatch.setenv("PATH", f"{tmp_path}:/no-sbin")
    (tmp_path / "gcc-14").rename(tmp_path / "gcc")
    (tmp_path / "bc").unlink()
    with pytest.raises(InfraError, match="bc is not installed"):
        HostRuntime().identity()
