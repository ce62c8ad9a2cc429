"""Artifacts and builder images that someone with access to the shared registry changed."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import secrets
import tarfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from kmodpipe.build import builder_image, shared_image
from kmodpipe.build.runtime import docker_engine
from kmodpipe.cache.store import Store
from kmodpipe.util.screen import Mode, Screen
from tests.faults import Outcome, Scene
from tests.faults.hostile.base import Outside, fault, unforeseen
from tests.support import oci, toy
from tests.support.oci import Member, member, packed

KEY = "a key that machines share, and no registry"
NEEDED = {"out/base.config", "out/illegal.json", "out/vmlinux", "guest.cpio"}
BOMB_BYTES = 700 * 1024**2


def attacks(outside: Outside) -> dict[str, Callable[[list[Member]], bytes]]:
    """What is done to each artifact, by what it is called."""
    there = str(outside.folder)

    def linked(below: str) -> list[Member]:
        return [
            member(f"{below}/a", kind=tarfile.SYMTYPE, to=there),
            member(f"{below}/a/planted", kind=tarfile.SYMTYPE, to="evil"),
            member(f"{below}/a/folder/deep", kind=tarfile.SYMTYPE, to="x"),
        ]

    def bomb(zipped: gzip.GzipFile) -> None:
        info = tarfile.TarInfo("x")
        info.type, info.size = tarfile.XHDTYPE, BOMB_BYTES
        zipped.write(info.tobuf(tarfile.USTAR_FORMAT))
        for _ in range(BOMB_BYTES >> 20):
            zipped.write(bytes(1024**2))

    return {
        "incomplete": lambda found: packed([one for one in found if one[0].name not in NEEDED]),
        "link": lambda found: packed([*found, *linked("obj"), *linked("out")]),
        "bomb": lambda found: packed(found, before=bomb),
        "reserved name": lambda found: packed([*found, member(".sums/x", b"x")]),
    }


@fault("registry-artifacts", "shared artifacts that are not whole, write through links, or are a bomb")
def artifacts(scene: Scene) -> Outcome:
    outside = Outside(scene)
    problems: list[str] = []
    told = ""
    cells = ("--runtime", "host", "--cell", "unpatched.INDEX=y.NOUUID=n")
    with oci.serve() as shelf:
        share = shelf.share(Store(scene.cache), Screen(Mode.QUIET), KEY.encode())
        first = toy.build(scene.root / "first").invoke(
            "build", *cells, "--share", shelf.where, KMODPIPE_SHARE_KEY=KEY
        )
        if first.code or not any(tag.startswith("base-") for tag in shelf.manifests):
            problems.append(f"nothing was shared: {first.text[-300:]!r}")
        good = {tag: shelf.members(tag) for tag in shelf.manifests}
        for name, attack in attacks(outside).items():
            for tag, found in good.items():
                shelf.replace(tag, attack(found), share)
            world = toy.build(scene.root / name.replace(" ", "-"))
            ran = world.invoke("build", *cells, "--share", shelf.where, KMODPIPE_SHARE_KEY=KEY)
            again = world.invoke("build", *cells)
            told = told or next((line for line in ran.text.splitlines() if "was not pulled" in line), "")
            problems += (f"{name}: {problem}" for problem in _problems(ran, again, world, len(good)))
            problems += outside.problems(ran.text + again.text)
    kept = (
        f"{len(attacks(outside))} attacks on {len(good)} artifacts: each built here, nothing written outside"
    )
    return Outcome(told.strip(), 0, kept, tuple(problems))


def _problems(ran: toy.Ran, again: toy.Ran, world: toy.World, artifacts: int) -> Iterator[str]:
    for one in (ran, again):
        if one.code or unforeseen(one.text):
            yield f"exit code {one.code}: {one.text.strip()[-300:]!r}"
    if (times := ran.text.count("was not pulled")) != artifacts:
        yield f"{times} of {artifacts} artifacts refused: {ran.text.strip()[-300:]!r}"
    if world.made().count("bzImage modules") != 1:
        yield f"the base was not built once: {world.made()}"
    if "0 steps made" not in again.text:
        yield f"made again: {again.text.strip()[-300:]!r}"


# -- builder images ----------------------------------------------------------------------------------
def image(label: str) -> tuple[str, bytes, bytes]:
    """The id, configuration and layer of an image with one file."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        tar.addfile(*_file("etc/label", label.encode()))
    diff = f"sha256:{hashlib.sha256(buffer.getvalue()).hexdigest()}"
    config = json.dumps(
        {
            "architecture": "amd64", "os": "linux", "config": {"Labels": {"org.kmodpipe.test": label}},
            "rootfs": {"type": "layers", "diff_ids": [diff]},
        }
    ).encode()  # fmt: skip
    return f"sha256:{hashlib.sha256(config).hexdigest()}", config, buffer.getvalue()


def saved(
    made: tuple[str, bytes, bytes], *more: Member, tags: str = "", manifest: str = "manifest.json"
) -> bytes:
    """A saved image, with a name for it where ``tags`` has one."""
    row = {"Config": "c.json", "RepoTags": [tags] if tags else None, "Layers": ["l/layer.tar"]}
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        tar.addfile(*_file("c.json", made[1]))
        tar.addfile(*_file("l/layer.tar", made[2]))
        for info, data in more:
            tar.addfile(info, io.BytesIO(data))
        if manifest:
            tar.addfile(*_file(manifest, json.dumps([row]).encode()))
    return buffer.getvalue()


def _file(name: str, data: bytes) -> tuple[tarfile.TarInfo, io.BytesIO]:
    info, _ = member(name, data)
    return info, io.BytesIO(data)


@fault("registry-images", "a shared builder image that names other images, or is another one")
def images(scene: Scene) -> Outcome:
    client = docker_engine.connect()
    unique = secrets.token_hex(6)
    victim, pushed, other = image(f"victim {unique}"), image(f"pushed {unique}"), image(f"other {unique}")
    name = f"kmodpipe-victim-{unique}:1"
    folder = scene.root / "images"
    (folder / "builder").mkdir(parents=True)
    (folder / "builder" / "Dockerfile").write_text(f"FROM scratch\n# {unique}\n")
    row = json.dumps([{"Config": "c.json", "RepoTags": [name], "Layers": ["l/layer.tar"]}]).encode()
    repositories = json.dumps({name.partition(":")[0]: {"1": "l"}}).encode()
    tries = {
        "named": saved(pushed, tags=name),
        "named ./": saved(pushed, tags=name, manifest="./manifest.json"),
        "named twice": saved(pushed, member("./manifest.json", row)),
        "by repositories": saved(pushed, member("repositories", repositories)),
        "by .//repositories": saved(pushed, member(".//repositories", repositories)),
        "by index": saved(pushed, member("index.json", json.dumps({"manifests": [
            {"digest": pushed[0], "annotations": {"io.containerd.image.name": name}}]}).encode())),
        "another": saved(other),
        "none": saved(pushed, manifest=""),
        "no archive": b"x" * 99,
        "good": saved(pushed, member("./more/", kind=tarfile.DIRTYPE)),
    }  # fmt: skip
    problems: list[str] = []
    told = ""
    try:
        client.images.load(saved(victim, tags=name))
        for attempt, content in tries.items():
            ended, pulled = _pull(scene, client, folder, content, pushed[0])
            told = told or ended
            if (pulled == pushed[0]) != (attempt == "good") or (attempt != "good") != ("not pulled" in ended):
                problems.append(f"{attempt}: {pulled or 'refused'}: {ended!r}")
            if client.images.get(name).id != victim[0]:
                problems.append(f"{attempt}: the name of another image was taken")
    finally:
        for image_id in (victim[0], pushed[0], other[0]):
            with suppress(Exception):
                client.images.remove(image_id, force=True)
        client.close()
    kept = f"{len(tries) - 1} images refused, and one loaded by its digest; no name was taken"
    return Outcome(told, 0, kept, tuple(problems))


def _pull(
    scene: Scene, client: object, folder: Path, content: bytes, image_id: str
) -> tuple[str, str | None]:
    """What was said of a pull, and the id of the image that it gave."""
    shown = io.StringIO()
    screen, store = Screen(Mode.PLAIN, out=shown), Store(scene.cache)
    with oci.serve() as shelf, store.scratch("image-") as scratch:
        share = shelf.share(store, screen)
        (scratch / "image.tar").write_bytes(content)
        share.push_image(builder_image.tag(folder).partition(":")[2], image_id, scratch)
        pulled = shared_image.pull(client, folder, share, store, screen)  # type: ignore[arg-type]
    lines = [line.strip() for line in shown.getvalue().splitlines() if "was not pulled" in line]
    return "".join(lines[:1]), pulled
