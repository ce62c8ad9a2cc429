"""The store: whole artifacts or none, made once, and why one is made again."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from kmodpipe.cache import integrity
from kmodpipe.cache.store import Store
from kmodpipe.util.digest import digest_file, digest_of
from kmodpipe.util.errors import InfraError
from kmodpipe.util.files import part_of, require_space
from tests.support.sample_artifact import fill

INPUTS = {"config": "abc", "flags": ["-O2"], "upstream": None}


def test_an_artifact_is_made_once_and_found_again(tmp_path: Path) -> None:
    store, made = Store(tmp_path), []

    def maker(folder: Path) -> None:
        assert list(folder.iterdir()) == []
        made.append(folder)
        fill(folder)

    assert store.find("base", INPUTS) is None
    first = store.make("base", INPUTS, "x/y", maker)
    again = Store(tmp_path).make("base", dict(INPUTS), "x/y", maker)
    assert first == again == store.find("base", INPUTS)
    assert len(made) == 1
    assert (first.path / "sub" / "vmlinux").read_bytes() == b"kernel"
    assert first.key == digest_of(INPUTS)
    assert list(store.work.iterdir()) == []


def test_a_maker_that_fails_leaves_nothing_and_the_next_try_starts_afresh(tmp_path: Path) -> None:
    store = Store(tmp_path)

    def half(folder: Path) -> None:
        fill(folder)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.make("base", INPUTS, "x", half)
    assert store.find("base", INPUTS) is None
    assert list(store.work.iterdir()) == []
    assert not (tmp_path / "store").exists()
    assert store.make("base", INPUTS, "x", fill).path.is_dir()


def change(path: Path, text: bytes) -> None:
    """Other bytes, and the times that the file had before, as far as anybody can set them."""
    was = path.stat()
    path.write_bytes(text)
    os.utime(path, ns=(was.st_atime_ns, was.st_mtime_ns))


def replace_by_link(path: Path) -> None:
    path.rename(path.with_name("aside"))
    path.symlink_to("aside")


KERNEL = "sub/vmlinux"
DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "a file that is gone": (lambda p: (p / KERNEL).unlink(), "sub/vmlinux missing"),
    "a file cut short": (lambda p: change(p / KERNEL, b"kern"), "sub/vmlinux changed"),
    "another byte": (lambda p: change(p / KERNEL, b"kernem"), "sub/vmlinux changed"),
    "a file that became a link": (lambda p: replace_by_link(p / KERNEL), "sub/vmlinux changed"),
    "a link to elsewhere": (lambda p: ((p / "link").unlink(), (p / "link").symlink_to("x")), "link changed"),
    "a file more": (lambda p: (p / "sub" / "more").touch(), "sub/more not part of it"),
    "a right that is gone": (lambda p: (p / KERNEL).chmod(0o755), "sub/vmlinux changed"),
    "half a folder": (lambda p: shutil.rmtree(p / "sub"), "sub/vmlinux missing"),
    "other inputs": (lambda p: (p / ".inputs").write_text("{}"), ".inputs changed"),
    "no list": (lambda p: (p / ".files").unlink(), ".files missing"),
    "neither list": (lambda p: [(p / name).unlink() for name in (".files", ".sums")], "cannot be read"),
    "sums that are not JSON": (lambda p: (p / ".sums").write_text("{"), "cannot be read"),
    "sums that are no table": (lambda p: (p / ".sums").write_text("[]"), "cannot be read"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_artifact_is_found_and_made_again(tmp_path: Path, damage: str) -> None:
    store = Store(tmp_path)
    path = store.make("base", INPUTS, "x", fill).path
    age(path)
    # Twice: what was looked at once is recognised by its stats.
    assert store.find("base", INPUTS) and store.find("base", INPUTS)
    harm, told = DAMAGES[damage]
    harm(path)
    assert store.find("base", INPUTS) is None
    assert told in store.why_missed("base", INPUTS, "x")
    again = Store(tmp_path).make("base", INPUTS, "x", fill).path
    assert again == path and contents_of(path) == {"link": b"kernel", "sub/vmlinux": b"kernel"}


def test_an_artifact_that_lacks_what_its_kind_has_is_made_again(tmp_path: Path) -> None:
    def check(folder: Path) -> None:
        if not (folder / "new").exists():
            raise InfraError("it has no new")

    def fuller(folder: Path) -> None:
        fill(folder)
        (folder / "new").touch()

    Store(tmp_path).make("base", INPUTS, "x", fill)
    store = Store(tmp_path)
    assert store.find("base", INPUTS) and store.find("base", INPUTS, check) is None
    assert store.why_missed("base", INPUTS, "x") == "damaged in the cache: it has no new"
    assert (store.make("base", INPUTS, "x", fuller, check=check).path / "new").exists()
    assert store.find("base", INPUTS, check)
    # One that is newly made and lacks it is not kept.
    with pytest.raises(InfraError, match="it has no new"):
        store.make("base", {**INPUTS, "other": 1}, "x", fill, check=check)
    assert store.find("base", {**INPUTS, "other": 1}) is None


def age(path: Path) -> None:
    """Wait until the stats of what was just written prove something."""
    deadline = time.monotonic() + 5
    while not integrity.fingerprint(path, without=frozenset()) and time.monotonic() < deadline:
        time.sleep(0.02)


def contents_of(path: Path) -> dict[str, bytes]:
    found = {p.relative_to(path).as_posix(): p for p in path.rglob("*") if p.is_file()}
    return {name: p.read_bytes() for name, p in found.items() if not name.startswith(".")}


def test_an_artifact_that_nobody_touched_is_not_hashed_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path)
    path = store.make("base", INPUTS, "x", fill).path
    age(path)
    assert store.find("base", INPUTS)
    with monkeypatch.context() as patch:
        patch.delattr(integrity, "sums")
        assert store.find("base", INPUTS)
    # A cache that came from elsewhere has other inodes and times, and the same contents; links stay links.
    shutil.copytree(tmp_path, tmp_path / "copy", symlinks=True)
    assert Store(tmp_path / "copy").find("base", INPUTS)


def test_an_artifact_of_an_earlier_version_has_sizes_alone_and_gets_sums(tmp_path: Path) -> None:
    store = Store(tmp_path)
    path = store.make("base", INPUTS, "x", fill).path
    (path / ".sums").unlink()
    assert store.find("base", INPUTS)
    change(path / KERNEL, b"kernem")
    assert store.find("base", INPUTS) is None


def test_a_damaged_folder_that_may_not_be_written_is_replaced_all_the_same(tmp_path: Path) -> None:
    store = Store(tmp_path)
    path = store.make("base", INPUTS, "x", fill).path
    (path / KERNEL).write_bytes(b"kern")
    for folder in (path / "sub", path):
        folder.chmod(0o500)
    assert (store.make("base", INPUTS, "x", fill).path / KERNEL).read_bytes() == b"kernel"


def test_why_missed_names_the_inputs_that_changed(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert store.why_missed("base", INPUTS, "a/b") == "never made here"
    first = store.make("base", {**INPUTS, "flags": ("-O2",)}, "a/b", fill)
    changed = {"config": "abd", "flags": ["-O2"], "upstream": None, "image": "sha256:1"}
    assert store.why_missed("base", changed, "a/b") == "changed: config, image"
    assert store.why_missed("base", changed, "other") == "never made here"
    # The label follows what was made last, a hit included.
    store.make("base", changed, "a/b", fill)
    assert store.why_missed("base", INPUTS, "a/b") == "changed: config, image"
    store.make("base", INPUTS, "a/b", fill)
    assert store.why_missed("base", changed, "a/b") == "changed: config, image"
    (first.path / "sub" / "vmlinux").unlink()
    assert store.why_missed("base", INPUTS, "a/b") == "its artifact is gone"


MAKER = """
import os, sys, time
from pathlib import Path
from kmodpipe.cache.store import Store

def maker(folder):
    with open(sys.argv[2], "a") as f:
        f.write("made\\n")
    (folder / "x").write_text("x")
    {body}

print("ready", flush=True)
sys.stdin.readline()
print(Store(Path(sys.argv[1])).make("base", {{"a": 1}}, "x", maker).path)
"""


def maker_process(tmp_path: Path, body: str) -> subprocess.Popen[str]:
    argv = [sys.executable, "-c", MAKER.format(body=body), str(tmp_path / "cache"), str(tmp_path / "count")]
    process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def test_two_processes_that_want_the_same_make_it_once(tmp_path: Path) -> None:
    pair = [maker_process(tmp_path, "time.sleep(0.5)") for _ in range(2)]
    for process in pair:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    paths = {process.communicate(timeout=30)[0] for process in pair}
    assert len(paths) == 1
    assert [process.returncode for process in pair] == [0, 0]
    assert (tmp_path / "count").read_text() == "made\n"


def test_what_a_killed_maker_left_is_swept_and_what_lives_is_not(tmp_path: Path) -> None:
    process = maker_process(tmp_path, "os.kill(os.getpid(), 9)")
    process.communicate("go\n", timeout=30)
    assert process.returncode == -signal.SIGKILL
    store = Store(tmp_path / "cache")
    left = [p.name for p in store.work.iterdir()]
    assert len(left) == 2
    with store.scratch("mine-") as mine:
        (mine / "file").write_text("x")
        assert store.sweep() == 1
        assert (mine / "file").exists()
        assert not any((store.work / name).exists() for name in left)
    # Its lock went with it: nobody waits for the dead.
    assert store.make("base", {"a": 1}, "x", fill, need_mib=1).path.is_dir()


def test_a_folder_of_an_earlier_boot_is_swept_although_the_pid_lives(tmp_path: Path) -> None:
    store = Store(tmp_path)
    (store.work / "old").mkdir(parents=True)
    (store.work / "old.owner").write_text(f"{os.getpid()} 00000000-another-boot")
    assert store.sweep() == 1
    assert list(store.work.iterdir()) == []


@pytest.mark.parametrize(
    "place",
    [
        ".", "work", "answers", "answers/ablate", "builders/0f", "cluster/files", "downloads", "images",
        "kept/kconfig", "kernels/deb-6.1", "store/base", "store/base/.as", "store/base/.latest",
        "store/base/.seen", "trees", "trees/pins", "a-room-that-is-new", "a-room-that-is-new/below",
    ],
)  # fmt: skip
def test_half_a_file_of_a_dead_process_is_swept_wherever_files_are_written(
    tmp_path: Path, place: str
) -> None:
    folder = tmp_path / place
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f".file.{os.getpid()}~another-boot~1~2~00112233.part").write_text("half")
    (folder / "file").write_text("whole")
    mine = part_of(folder / "file")
    mine.write_text("of a process that lives")
    assert Store(tmp_path).sweep() == 1
    assert {one for one in folder.iterdir() if one.is_file()} == {folder / "file", mine}


def test_what_an_artifact_and_a_tree_have_inside_is_theirs(tmp_path: Path) -> None:
    for place in ("trees/git-1/fs", "trees/git-1", "store/base/0f/kit", "store/base/0f", "git/objects"):
        (tmp_path / place).mkdir(parents=True, exist_ok=True)
        (tmp_path / place / f".file.{os.getpid()}~another-boot~1~2~00112233.part").write_text("theirs")
    assert Store(tmp_path).sweep() == 0


def test_too_little_disk_says_for_what_how_much_and_what_to_do(tmp_path: Path) -> None:
    require_space(tmp_path, 1, "a little")
    with pytest.raises(InfraError) as caught:
        Store(tmp_path / "c").make("base", INPUTS, "5.10", fill, need_mib=1 << 40)
    error = caught.value
    assert error.what.startswith("not enough disk for base 5.10: ")
    assert error.what.endswith(f" MiB free, {1 << 40} MiB needed")
    assert error.where == str(tmp_path / "c")
    assert "invoke clean" in error.hint
    assert not (tmp_path / "c" / "store").exists()


def test_a_sealed_artifact_says_what_went_in(tmp_path: Path) -> None:
    path = Store(tmp_path).make("base", INPUTS, "x", fill).path
    assert json.loads((path / ".inputs").read_text()) == INPUTS
    assert json.loads((path / ".files").read_text())["sub/vmlinux"] == 6
    assert digest_file(path / "sub" / "vmlinux") == digest_file(path / "link")


def test_an_artifact_is_found_by_a_name_as_well_while_it_is_whole(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert store.remembered_as("base", "name") is None
    first, second = (store.make("base", {"n": n}, "x", fill) for n in (1, 2))
    store.remember_as("name", first)
    assert Store(tmp_path).remembered_as("base", "name") == first
    store.remember_as("name", second)
    assert store.remembered_as("base", "name") == second
    assert store.remembered_as("module", "name") is None
    (second.path / "sub" / "vmlinux").write_bytes(b"other!")
    assert store.remembered_as("base", "name") is None
    shutil.rmtree(second.path)
    assert store.remembered_as("base", "name") is None


@pytest.mark.parametrize("key", ["", "../../elsewhere", "a" * 63, "A" * 64, "\0", "x" * 500])
def test_a_name_that_leads_to_no_key_leads_nowhere(tmp_path: Path, key: str) -> None:
    store = Store(tmp_path)
    store.remember_as("name", store.make("base", INPUTS, "x", fill))
    (tmp_path / "store" / "base" / ".as" / "name").write_text(key)
    assert store.remembered_as("base", "name") is None
