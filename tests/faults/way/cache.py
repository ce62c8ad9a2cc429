"""A cache that is not what it was: bytes flipped, files cut, gone, replaced, folders half deleted.

Every file that is written to keeps its size and its time of modification, and so does what a backup or a
broken disk leaves.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

from kmodpipe.util.digest import digest_file
from tests.faults import Outcome, Scene
from tests.faults.way import fault, warm
from tests.faults.way.judging import outcome, problems
from tests.faults.way.servers import fetch, site, sound, tarball
from tests.faults.way.toys import ONE, Toys, toys


def flip(path: Path) -> None:
    """Another byte in the middle; size and times stay as far as anybody can set them."""
    was, mode = path.stat(), path.stat().st_mode
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0x01
    path.chmod(0o600)
    path.write_bytes(data)
    path.chmod(mode)
    os.utime(path, ns=(was.st_atime_ns, was.st_mtime_ns))


def one(cache: Path, pattern: str) -> Path:
    """The first file of the store that fits."""
    return sorted((cache / "store").glob(pattern))[0]


def products(cache: Path) -> dict[str, str]:
    """Everything that is booted, or handed on: name -> SHA-256."""
    found = [*(cache / "store").glob("*/*/out/**/*"), *(cache / "store").glob("guest/*/guest.cpio")]
    return {str(p.relative_to(cache)): digest_file(p) for p in found if p.is_file()}


def filled(scene: Scene) -> tuple[Toys, dict[str, str]]:
    """A toy project with all that it makes in the cache, and what that is."""
    play = toys(scene)
    play.invoke("test")
    return play, products(scene.cache)


def made_again(scene: Scene, play: Toys, told: Iterable[str], before: Mapping[str, str]) -> Outcome:
    """Run on the damaged cache: it is told, made again, and comes out as it was; after that all is cached."""
    got = play.invoke("test")
    found = problems(got, 0, *told)
    found += ["what was made again is not what it was"] if products(scene.cache) != before else []
    again = play.invoke("build")
    found += problems(again, 0, "0 steps made")
    told_lines = [line.strip() for line in got.err.splitlines() if "damaged in the cache" in line]
    reported = told_lines[0] if told_lines else got.sentence()
    return Outcome(reported, got.code, "found before it was used, made again, the same", tuple(found))


@fault("cache-bytes", "a byte is flipped in vmlinux, bzImage, a module, the guest, a configuration, a list")
def cache_bytes(scene: Scene) -> Outcome:
    play, before = filled(scene)
    modules = sorted((scene.cache / "store").glob("module/*/out/toy.ko"))
    victims = {
        one(scene.cache, "base/*/out/vmlinux"): "out/vmlinux changed",
        modules[0]: "out/toy.ko changed",
        modules[1].parent.parent / ".inputs": ".inputs changed",
        modules[2].parent.parent / ".files": ".files changed",
        one(scene.cache, "guest/*/guest.cpio"): "guest.cpio changed",
        one(scene.cache, "config/*/out/*.config"): ".config changed",
    }
    for victim in victims:
        flip(victim)
    return made_again(scene, play, victims.values(), before)


@fault("cache-kernel", "a byte is flipped in the kernel that is booted")
def cache_kernel(scene: Scene) -> Outcome:
    play, before = filled(scene)
    flip(one(scene.cache, "base/*/out/bzImage"))
    return made_again(scene, play, ["damaged in the cache: out/bzImage changed"], before)


@fault("cache-files", "files of artifacts are gone, cut, links; one is half deleted, one cannot be written")
def cache_files(scene: Scene) -> Outcome:
    play, before = filled(scene)
    modules = sorted(p for p in (scene.cache / "store/module").glob("*") if p.name[0] != ".")
    (modules[0] / "out/toy.ko").unlink()
    with (modules[1] / "out/toy.ko").open("r+b") as f:
        f.truncate(10)
    (modules[2] / "out/toy.ko").rename(modules[2] / "aside")
    (modules[2] / "out/toy.ko").symlink_to("../aside")
    shutil.rmtree(modules[3] / "out")
    shutil.move(modules[4], scene.root / "elsewhere")
    modules[4].symlink_to(scene.root / "elsewhere")
    flip(one(scene.cache, "guest/*/out/init"))
    one(scene.cache, "guest/*/out").chmod(0o500)
    one(scene.cache, "guest/*/out").parent.chmod(0o500)
    one(scene.cache, "recipes/*/builder/base.sh").chmod(0o755)
    told = ("out/toy.ko missing", "out/toy.ko changed", "aside not part of it", "out/init changed")
    return made_again(scene, play, told, before)


@fault("cache-trees", "files of the tree and of the patched tree are changed, gone, or there besides")
def cache_trees(scene: Scene) -> Outcome:
    play, before = filled(scene)
    trees = scene.cache / "trees"
    plain, patched = next(trees.glob("dir-*/Makefile")).parent, next(trees.glob("patched-*/Makefile")).parent
    # New files: of the farm's links the others must stay as they are.
    for path, text in (
        (plain / "fs/toy/toy.c", "outcome: STALE!\n"),
        (patched / "init/main.c", "int mine;\n"),
    ):
        path.unlink()
        path.write_text(text)
    (patched / "fs/toy/Makefile").unlink()
    (patched / "more.c").touch()
    told = ("fs/toy/toy.c changed", "init/main.c changed; fs/toy/Makefile missing; more.c not part of it")
    return made_again(scene, play, told, before)


@fault("cache-notes", "accel.json, locks, records, pins and all other notes are garbage")
def cache_notes(scene: Scene) -> Outcome:
    play, before = filled(scene)
    notes = [scene.cache / "accel.json", *(scene.cache / "locks").glob("*")]
    notes += [*(scene.cache / "trees").glob("*.json"), *(scene.cache / "trees/pins").glob("*")]
    notes += [*(scene.cache / "store").glob("*/.latest/*"), *(scene.cache / "store").glob("*/.seen/*")]
    for note in (note for note in notes if note.is_file()):
        note.write_bytes(b"\xff\x00nonsense{")
    return made_again(scene, play, [], before)


@fault("cache-meanwhile", "a kernel in the cache is damaged after the run has found it whole")
def cache_meanwhile(scene: Scene) -> Outcome:
    play = toys(scene)
    make = play.program("make")
    sound_make = make.read_text()
    harm = f'for k in "{scene.cache}"/store/base/*/out/bzImage; do echo "toy kernel" > "$k"; done'
    play.meanwhile("make", "*.ko*", harm)
    got = play.invoke(*ONE)
    found = problems(got, 3, "bzImage was changed in the cache after the run had begun")
    make.write_text(sound_make)
    found += problems(play.invoke(*ONE), 0, "damaged in the cache: out/bzImage changed")
    told = [line.strip() for line in got.out.splitlines() if "bzImage was changed" in line]
    return Outcome((told or [got.sentence()])[0], got.code, "not booted, and made again", tuple(found))


@fault("cache-restored", "the cache is a copy: with its times, and with others")
def cache_restored(scene: Scene) -> Outcome:
    play = toys(scene)
    play.invoke("test")
    original = scene.cache.rename(scene.root / "original")
    shutil.copytree(original, scene.cache, symlinks=True)
    got = play.invoke("build")
    found = problems(got, 0, "0 steps made", never=["made again"])
    shutil.rmtree(scene.cache)
    shutil.copytree(original, scene.cache, symlinks=True, copy_function=shutil.copy)
    late = play.invoke("build")
    found += problems(late, 0, "0 steps made", "was changed in the cache and is made again")
    return outcome(got, "nothing is built again; trees with other times are made again", found)


@fault("cache-download", "a tree is damaged, and the server that it came from is gone")
def cache_download(scene: Scene) -> Outcome:
    with site(tarball(scene), sound) as server:
        address = server.pinned
        found = problems(fetch(scene, address), 0)
    victim = next((scene.cache / "trees").glob("tar-*/Kconfig"))
    victim.write_text('mainmenu "toz"\n')
    got = fetch(scene, address)
    found += problems(got, 0, "Kconfig changed", "unpack")
    found += [] if victim.read_text() == 'mainmenu "toy"\n' else ["the tree is still damaged"]
    return Outcome(got.err.strip().splitlines()[0], got.code, "unpacked again, no network", tuple(found))


@fault("cache-module", "a real kernel module in the cache has another byte")
def cache_module(scene: Scene) -> Outcome:
    cell = ("--series", "none", "--cell", "unpatched.INDEX=y.NOUUID=n")
    warm.fill(scene, cell)
    found = problems(scene.invoke("build", *cell), 0, "0 steps made")
    module = one(scene.cache, "module/*/out/overlay.ko")
    before = digest_file(module)
    flip(module)
    got = scene.invoke("build", *cell)
    found += problems(got, 0, "damaged in the cache: out/overlay.ko changed", "1 step made")
    found += [] if digest_file(module) == before else ["what was built again is not what it was"]
    told = [line.strip() for line in got.err.splitlines() if "damaged in the cache" in line]
    return Outcome((told or [got.sentence()])[0], got.code, "built again, byte for byte", tuple(found))
