"""The project's files, as they travel."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from kmodpipe.cache.store import remove
from kmodpipe.cluster import bundle
from kmodpipe.cluster.bundle import Bundle, Staging
from kmodpipe.source import fetch, locate
from kmodpipe.source.tree import ModuleSpec
from kmodpipe.util.errors import InfraError, UserError
from kmodpipe.util.screen import Mode, Screen
from tests.support.trees import write


@pytest.fixture
def project(tmp_path: Path) -> Path:
    root = tmp_path / "project"
    write(root, {
        "kmodpipe.toml": "", "cases/a.sh": "#!/bin/sh\n", "out/.gitignore": "*\n", "out/2/results.json": "{}",
        ".git/config": "", ".env": "SECRET=1", "venv/pyvenv.cfg": "", "venv/lib/x.py": "",
        "sub/__pycache__/x.pyc": "", "sub/kept.config": "CONFIG_A=y\n",
    })  # fmt: skip
    (root / "cases/a.sh").chmod(0o755)
    (root / "cases/b.sh").symlink_to("a.sh")
    (root / "dangling").symlink_to("/nowhere")
    return root


def made(root: Path, folder: Path, *words: str) -> tuple[Bundle, list[str]]:
    folder.mkdir()
    staging = Staging(root, folder)
    found = [staging.word(word) for word in words]
    return staging.pack(), found


def names(home: Path) -> set[str]:
    return {path.relative_to(home).as_posix() for path in home.rglob("*") if path.is_file()}


def test_what_a_project_reads_travels_and_what_it_made_does_not(project: Path, tmp_path: Path) -> None:
    one, _ = made(project, tmp_path / "s")
    home = bundle.place(one.data, one.digest, tmp_path / "cache")
    assert names(home) == {"kmodpipe.toml", "cases/a.sh", "cases/b.sh", "sub/kept.config"}
    assert os.access(home / "cases/a.sh", os.X_OK) and not (home / "cases/b.sh").is_symlink()


def test_the_same_files_are_the_same_bundle(project: Path, tmp_path: Path) -> None:
    first, _ = made(project, tmp_path / "1")
    os.utime(project / "cases/a.sh", (1, 1))
    second, _ = made(project, tmp_path / "2")
    assert first == second
    (project / "cases/a.sh").write_text("#!/bin/sh\nexit 1\n")
    assert made(project, tmp_path / "3")[0].digest != first.digest


def test_a_file_of_the_command_line_is_named_as_it_is_there(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project)
    write(tmp_path, {"elsewhere/mine.sh": "#!/bin/sh\n", "series/0001.patch": "x"})
    given = (
        "cases/a.sh",
        str(tmp_path / "elsewhere/mine.sh"),
        str(tmp_path / "series"),
        "a-name",
        "X=y",
        ".",
    )
    one, found = made(project, tmp_path / "s", *given)
    home = bundle.place(one.data, one.digest, tmp_path / "cache")
    assert found[3:] == ["a-name", "X=y", "./."]
    assert (home / found[0]).read_text() == "#!/bin/sh\n"
    assert (home / found[1]).is_file() and Path(found[1]).name == "mine.sh"
    assert (home / found[2] / "0001.patch").is_file()


def test_a_file_that_is_on_no_disk_and_a_tree_travel(project: Path, tmp_path: Path) -> None:
    source = tmp_path / "module"
    write(source, {"Kbuild": "obj-m := own.o\n", "sub/own.c": "int x;\n"})
    spec = ModuleSpec(name="own", path=source)
    tree = fetch(spec, {}, tmp_path / "here", Screen(Mode.QUIET))
    (tmp_path / "s").mkdir()
    staging = Staging(project, tmp_path / "s")
    words = [staging.file("one.x", b"1"), staging.file("one.x", b"2")]
    staging.tree(tree)
    one = staging.pack()
    home = bundle.place(one.data, one.digest, tmp_path / "cache")
    assert [(home / word).read_bytes() for word in words] == [b"1", b"2"]
    kept = ModuleSpec(name="own", kept=tree.identity)
    there = locate(kept, {}, tmp_path / "cache")
    assert there and (there.path / "sub/own.c").read_text() == "int x;\n"
    # A cache that was cleaned since has it again with the next job.
    remove(there.path)
    assert locate(kept, {}, tmp_path / "cache") is None
    bundle.place(one.data, one.digest, tmp_path / "cache")
    assert locate(kept, {}, tmp_path / "cache")


def test_what_did_not_arrive_as_it_was_sent_is_refused(project: Path, tmp_path: Path) -> None:
    one, _ = made(project, tmp_path / "s")
    with pytest.raises(InfraError, match="did not arrive"):
        bundle.place(one.data, "0" * 64, tmp_path / "cache")
    with pytest.raises(InfraError, match="no digest"):
        bundle.place(one.data, "../../x", tmp_path / "cache")
    with pytest.raises(InfraError):
        bundle.place(one.data[:-40], one.digest, tmp_path / "cache")
    assert not list((tmp_path / "cache").glob("cluster/projects/*"))


def test_a_project_that_is_too_large_names_what_is(project: Path, tmp_path: Path) -> None:
    with (project / "disk.img").open("wb") as f:
        f.truncate(80 << 20)
    with pytest.raises(UserError) as caught:
        made(project, tmp_path / "s")
    assert "disk.img" in caught.value.where
    subprocess.run(["rm", str(project / "disk.img")], check=True)
    made(project, tmp_path / "again")
    staging = Staging(project, tmp_path / "data")
    with pytest.raises(UserError) as caught:
        staging.file("mine.kmodpipe-series", b"x" * (65 << 20))
    assert "mine.kmodpipe-series has 65 MiB" in caught.value.where
