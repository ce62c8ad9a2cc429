"""Disks that fill up, run out of inodes, or cannot be written: file systems of their own, really full.

A program of the toy world fills the disk at the moment that a fault is about; what follows then is real.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.faults import Ended, Outcome, Scene
from tests.faults.way import fault
from tests.faults.way.judging import latest, outcome, problems
from tests.faults.way.servers import fetch, site, sound, tarball
from tests.faults.way.toys import ONE, Toys, toys
from tests.support import toy

_FILL = """\
dd if=/dev/zero of="{folder}/.filler" bs=64k 2>/dev/null
dd if=/dev/zero of="{folder}/.filler-2" bs=1k 2>/dev/null
"""


@dataclass(frozen=True)
class Disk:
    """A file system on a loop device, or a tmpfs, mounted on ``folder``."""

    folder: Path

    @property
    def script(self) -> str:
        """Shell commands that leave no room."""
        spare = f'$(($(df --output=avail -B1 "{self.folder}" | tail -1) - 8388608))'
        # The most of it at once: a base asks for gigabytes, which need not be written.
        most = f'n={spare}; [ "$n" -le 0 ] || fallocate -l "$n" "{self.folder}/.filler-0"\n'
        return most + _FILL.format(folder=self.folder)

    def fill(self) -> None:
        subprocess.run(["sh", "-c", self.script], check=False)

    def remount(self, option: str) -> None:
        subprocess.run(["mount", "-o", f"remount,{option}", self.folder], check=True)

    def use_up_inodes(self) -> None:
        made = 0
        try:
            (self.folder / ".inodes").mkdir()
            while True:
                (self.folder / ".inodes" / str(made)).touch()
                made += 1
        except OSError:
            assert made

    def free(self) -> None:
        for filler in self.folder.glob(".filler*"):
            filler.unlink()
        shutil.rmtree(self.folder / ".inodes", ignore_errors=True)


@contextmanager
def disk(folder: Path, mib: int, *, options: tuple[str, ...] = ()) -> Iterator[Disk]:
    """A disk of its own for ``folder``, made with ``options``: sparse, so that gigabytes cost nothing."""
    folder.mkdir(parents=True, exist_ok=True)
    image = folder.with_name(f"{folder.name}.img")
    with image.open("wb") as f:
        f.truncate(mib << 20)
    subprocess.run(
        ["mkfs.ext4", "-q", "-m", "0", "-E", "lazy_itable_init=1,nodiscard", *options, image], check=True
    )
    subprocess.run(["mount", "-o", "loop", image, folder], check=True)
    try:
        (folder / "lost+found").rmdir()
        yield Disk(folder)
    finally:
        subprocess.run(["umount", folder], check=True)
        image.unlink()


def arm(play: Toys, full: Disk, program: str, when: str) -> Path:
    """Let ``program`` of the toy world fill the disk when its words fit ``when``, and go on then as it would.
    Only as long as the file exists that is returned."""
    armed = play.scene.root / "armed"
    armed.touch()
    play.meanwhile(program, when, f'if [ -e "{armed}" ]; then\n{full.script}fi')
    return armed


def told(
    scene: Scene,
    play: Toys,
    full: Disk,
    got: Ended,
    *said: str,
    words: tuple[str, ...] = ("test",),
    hint: bool = True,
) -> Outcome:
    """The run that met the full disk, and the one after some space was freed."""
    found = problems(got, 3, *said, hint=hint)
    if (scene.latest / "results.json").is_file() and latest(scene).id != scene.latest.resolve().name:
        found.append("a result was lost")
    full.free()
    (scene.root / "armed").unlink(missing_ok=True)
    found += problems(play.invoke(*words), 0)
    return outcome(got, "the next run completes", found)


# -- the cache -------------------------------------------------------------------------------------------
@fault("full-download", "the disk fills up while a tree is downloaded", as_root=True)
def full_download(scene: Scene) -> Outcome:
    with disk(scene.cache, 96) as full:

        def answer(handler: object, server: object) -> None:
            full.fill()
            sound(handler, server)  # type: ignore[arg-type]

        with site(tarball(scene), sound) as server:
            checked = shutil.disk_usage(scene.cache).free >> 20 > 64
            server.answer = answer
            got = fetch(scene, server.pinned)
            found = problems(got, 3, "disk", str(scene.cache), hint=True)
            full.free()
            server.answer = sound
            found += problems(fetch(scene, server.pinned), 0)
    found += [] if checked else ["there was no room from the start"]
    return outcome(got, "the next run completes", found)


@fault(
    "full-unpack",
    "a tree is larger than its tarball promises, and fills the disk",
    as_root=True,
)
def full_unpack(scene: Scene) -> Outcome:
    made = scene.root / "linux"
    play = toys(scene)
    shutil.copytree(play.world.tree, made)
    with (made / "zeros").open("wb") as f:
        # Compressed better than any source archive, and not yet a bomb.
        for start in range(0, 160 << 20, 80 << 20):
            f.seek(start)
            f.write(os.urandom(1 << 20))
        f.truncate(160 << 20)
    tar = scene.root / "linux.tar.gz"
    subprocess.run(["tar", "-C", scene.root, "-czf", tar, "linux"], check=True)
    with disk(scene.cache, 128) as full:
        got = scene.invoke("fetch", "--tree", tar)
        found = problems(got, 3, "not enough disk for unpacking", str(scene.cache), hint=True)
        found += [f"half a tree: {p.name}" for p in (scene.cache / "trees").glob("tar-*")]
        full.free()
    found += problems(scene.invoke("fetch", "--tree", tar), 0)
    return outcome(got, "no half tree; with more room it is there", found)


@fault("full-before", "there is too little room for a tree and its kernels from the start", as_root=True)
def full_before(scene: Scene) -> Outcome:
    play = toys(scene)
    with disk(scene.cache, 512):
        got = play.invoke(*ONE)
        found = problems(got, 3, "not enough disk for a tree", str(scene.cache), hint=True)
        found += [f"fetched: {p.name}" for p in (scene.cache / "trees").glob("*")]
    return outcome(got, "refused before anything was fetched", found)


@fault("full-refused", "there is too little room for the base from the start", as_root=True)
def full_refused(scene: Scene) -> Outcome:
    play = toys(scene)
    with disk(scene.cache, 512):
        play.invoke("fetch")
        got = play.invoke(*ONE)
        found = problems(got, 3, "not enough disk for base", "2048 MiB needed", hint=True)
    found += [] if latest(scene).finished else ["the results were not completed"]
    return outcome(got, "refused before anything was compiled", found)


@fault("full-apply", "the disk fills up before a series is applied", as_root=True)
def full_apply(scene: Scene) -> Outcome:
    play = toys(scene)
    with disk(scene.cache, 4096) as full:
        play.invoke("fetch")
        full.fill()
        got = play.invoke("patch")
        return told(scene, play, full, got, "disk", words=("patch",))


def _while_building(scene: Scene, when: str, *said: str, hint: bool = True) -> Outcome:
    play = toys(scene)
    with disk(scene.cache, 4096) as full:
        arm(play, full, "make", when)
        return told(scene, play, full, play.invoke(*ONE), *said, words=ONE, hint=hint)


@fault("full-configure", "the disk fills up while the tree is configured", as_root=True)
def full_configure(scene: Scene) -> Outcome:
    return _while_building(scene, "*config*", "disk")


@fault("full-base", "the disk fills up while the base is built", as_root=True)
def full_base(scene: Scene) -> Outcome:
    return _while_building(scene, "*bzImage*", "the disk filled up while the kernel base was built")


@fault("full-module", "the disk fills up while a module is built", as_root=True)
def full_module(scene: Scene) -> Outcome:
    return _while_building(scene, "*.ko*", "the disk filled up while the module of", hint=False)


@fault("full-guest", "the disk fills up while the guest is made", as_root=True)
def full_guest(scene: Scene) -> Outcome:
    play = toys(scene)
    with disk(scene.cache, 4096) as full:
        recipe = play.world.root / "images/guest/recipe.sh"
        sound_recipe = recipe.read_text()
        recipe.write_text(full.script + sound_recipe)
        got = play.invoke(*ONE)
        recipe.write_text(sound_recipe)
        return told(scene, play, full, got, "disk", words=ONE)


@fault("full-inodes", "the cache has no inodes left", as_root=True)
def full_inodes(scene: Scene) -> Outcome:
    play = toys(scene)
    with disk(scene.cache, 4096, options=("-N", "400")) as full:
        play.invoke("fetch")
        full.use_up_inodes()
        got = play.invoke(*ONE)
        return told(scene, play, full, got, "inodes", words=ONE)


# -- the results, TMPDIR -----------------------------------------------------------------------------------
@fault("full-console", "the results' disk fills up while a guest runs", as_root=True)
def full_console(scene: Scene) -> Outcome:
    play = toys(scene)
    with disk(scene.out, 64) as full:
        found = problems(play.invoke(*ONE), 0)
        before = (scene.latest / "results.json").read_bytes()
        kept = scene.latest.resolve() / "results.json"
        arm(play, full, "qemu-system-x86_64", "*earlyprintk*")
        got = play.invoke(*ONE)
        found += [] if kept.read_bytes() == before else ["the results of the run before are lost"]
        ended = told(scene, play, full, got, "disk", str(scene.out), words=ONE)
    return Outcome(ended.reported, ended.code, "earlier results; " + ended.kept, (*ended.problems, *found))


def _out_is_full(scene: Scene, play: Toys, full: Disk) -> Outcome:
    got = play.invoke(*ONE)
    return told(scene, play, full, got, "no space left on device", str(scene.out), words=ONE)


@fault("full-out", "the results' disk is full from the start", as_root=True)
def full_out(scene: Scene) -> Outcome:
    play = toys(scene)
    with disk(scene.out, 64) as full:
        full.fill()
        return _out_is_full(scene, play, full)


@fault("full-out-inodes", "the results' disk has no inodes left", as_root=True)
def full_out_inodes(scene: Scene) -> Outcome:
    play = toys(scene)
    with disk(scene.out, 64, options=("-N", "100")) as full:
        full.use_up_inodes()
        return _out_is_full(scene, play, full)


@fault("full-tmp", "TMPDIR is full", as_root=True)
def full_tmp(scene: Scene) -> Outcome:
    play = toys(scene)
    with disk(scene.root / "tmp", 16) as full:
        posted = scene.root / "posted.mbox"
        text = toy.SERIES_PATCH.replace("\n---\n", "\nSaid at length.\n" + "word " * 50_000 + "\n---\n", 1)
        posted.write_text(f"From 0 Mon Sep 17 00:00:00 2001\n{text}")
        full.fill()
        got = play.invoke(*ONE)
        # Where nothing at all can be written, Python takes another folder.
        largest = max((scene.root / "tmp").glob(".filler*"), key=lambda path: path.stat().st_size)
        os.truncate(largest, largest.stat().st_size - (100 << 10))
        refused = play.invoke("patch", "--series", posted)
        full.free()
    found = problems(got, 0)
    found += problems(refused, 3, "there is no room to take a mailbox apart", hint=True)
    found += problems(play.invoke("patch", "--series", posted), 0, "1 patch applies")
    return outcome(
        got, "all: builds and boots take their room in the cache; a mailbox is whole or none", found
    )


@fault(
    "read-only-cache", "the cache's disk is mounted read-only, with all that is needed in it", as_root=True
)
def read_only_cache(scene: Scene) -> Outcome:
    play = toys(scene)
    with disk(scene.cache, 4096) as whole:
        found = problems(play.invoke(*ONE), 0)
        whole.remount("ro")
        got = play.invoke(*ONE)
        found += problems(got, 3, "the cache folder cannot be used", str(scene.cache), hint=True)
        whole.remount("rw")
        found += problems(play.invoke(*ONE), 0)
    return outcome(got, "everything", found)


@fault("read-only-out", "the results' disk is mounted read-only", as_root=True)
def read_only_out(scene: Scene) -> Outcome:
    play = toys(scene)
    with disk(scene.out, 16) as whole:
        whole.remount("ro")
        got = play.invoke(*ONE)
        found = problems(got, 2, "the results folder cannot be made", str(scene.out), hint=True)
    return outcome(got, "the cache", found)
