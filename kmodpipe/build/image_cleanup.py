"""Note which checkout uses which builder image, and remove those that are unused.

    CACHE/builders/<image id>/<digest>[.<release>]    holds the path of a checkout that builds in the
                                                      image; its modification time is that of the last use

A builder image is worth more than the minute that it takes to build: cache keys contain its id, so that
without it every kernel is built again. Removed are only images that have notes in this cache, and none by
another checkout in the last two weeks.
"""

from __future__ import annotations

import shutil
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kmodpipe.build import builder_image
from kmodpipe.build.runtime import docker_errors
from kmodpipe.util.digest import digest_of
from kmodpipe.util.lock import lock
from kmodpipe.util.screen import Screen

if TYPE_CHECKING:
    from docker import DockerClient

KEEP_DAYS = 14
# A younger image without a name may be a step of a build that another process runs.
_DANGLING_AGE = "1h"


def note_use(cache: Path, images: Path, image_id: str, release: str = builder_image.RELEASE) -> None:
    """Note that the checkout whose recipes are in ``images`` builds in an image of a release now."""
    checkout = str(images.resolve())
    name = digest_of(checkout)[:16]
    note = _notes(cache, image_id) / (name if release == builder_image.RELEASE else f"{name}.{release}")
    # An error does no harm: an image without notes is never removed.
    with suppress(OSError):
        note.parent.mkdir(parents=True, exist_ok=True)
        note.write_text(checkout, encoding="utf-8", errors="surrogateescape")


def _notes(cache: Path, image_id: str) -> Path:
    return cache / "builders" / image_id.removeprefix("sha256:")


@dataclass(frozen=True)
class Use:
    """A checkout that used an image."""

    images: Path  # its folder of recipes
    release: str  # that the image is for
    days: float  # since the last use


def _uses(cache: Path, image_id: str) -> tuple[Use, ...]:
    """Return the uses of an image by checkouts that still exist, the latest first."""
    found = []
    for note in _notes(cache, image_id).glob("*"):
        with suppress(OSError):
            where = Path(note.read_text(encoding="utf-8", errors="surrogateescape"))
            if where.is_dir():
                release = note.name.partition(".")[2] or builder_image.RELEASE
                found.append(Use(where, release, (time.time() - note.stat().st_mtime) / 86400))
    return tuple(sorted(found, key=lambda use: use.days))


def remove_old(
    client: DockerClient,
    images: Path,
    cache: Path,
    screen: Screen,
    *,
    names: builder_image.Names | None = None,
    dry_run: bool = False,
) -> int:
    """Remove unused builder images and nameless images below them; return how many builder images.

    With ``dry_run`` they stay, and are listed.

    Prints which images that this checkout does not use are kept, and why. Raises InfraError if the engine
    fails.
    """
    names = names or builder_image.Names()
    removed = 0
    with (
        docker_errors.wrapped("builder images could not be removed"),
        lock(cache / "locks" / "builder-image", waiting=screen.say),
    ):
        own = _own(client, images, cache, names)
        left: list[str] = []
        busy = {str(row.get("ImageID")) for row in client.api.containers(all=True)}
        for one in client.images.list(filters={"label": f"{builder_image.LABEL}=builder"}):
            left += one.tags
            if not _is_ours(one.tags, names) or str(one.id) in own:
                continue
            name_and_size = f"{one.tags[0]} ({_mib(one)} MiB)"
            if why := _reason_to_keep(str(one.id), images, cache, busy):
                screen.say(f"kept {name_and_size}: {why}")
                continue
            removed += 1
            left = [tag for tag in left if tag not in one.tags]
            if dry_run:
                screen.say(f"would remove {name_and_size}")
                continue
            for name in one.tags:
                # Without force: the engine refuses if a container was created from it meanwhile.
                client.images.remove(name)
            shutil.rmtree(_notes(cache, str(one.id)), ignore_errors=True)
            screen.say(f"removed {name_and_size}")
        if not dry_run:
            _prune(client)
            _remove_bases(client, names, left)
    return removed


def _remove_bases(client: DockerClient, names: builder_image.Names, left: list[str]) -> None:
    """Remove the bases that other releases' images were built on, where none of these is ``left``."""
    from docker.errors import ImageNotFound

    for release in builder_image.RELEASES:
        if release == builder_image.RELEASE or any(f":{release}-" in tag for tag in left):
            continue
        with suppress(ImageNotFound):
            client.images.remove(f"{names.base}:{release}")


def _own(client: DockerClient, images: Path, cache: Path, names: builder_image.Names) -> set[str]:
    """Return the ids of this checkout's images: of each release the one of its recipe, and the one that it
    used last, which may be a shared one; of a release that it no longer uses none."""
    here = images.resolve()
    last: dict[str, tuple[float, str]] = {}
    for folder in (cache / "builders").glob("*"):
        for use in _uses(cache, folder.name):
            if use.images == here:
                now = (use.days, f"sha256:{folder.name}")
                last[use.release] = min(last.get(use.release, now), now)
    recent = {release for release, (days, _) in last.items() if days < KEEP_DAYS}
    used = {builder_image.RELEASE, *recent}
    found = {builder_image.find(client, images, names=names, release=release) for release in used}
    return {*filter(None, found), *(image for release, (_, image) in last.items() if release in used)}


def _is_ours(tags: list[str], names: builder_image.Names) -> bool:
    """Return whether an image has only our names; one that the user has named is the user's."""
    return bool(tags) and all(tag.startswith(f"{names.builder}:") for tag in tags)


def _reason_to_keep(image_id: str, images: Path, cache: Path, busy: set[str]) -> str:
    """Return why an image that this checkout does not use must stay, '' if it may be removed."""
    if image_id in busy:
        return "a container uses it"
    if not _notes(cache, image_id).is_dir():
        return "there is no note who uses it; if you know that it is unused: docker image rm"
    others = [u for u in _uses(cache, image_id) if u.images != images.resolve() and u.days < KEEP_DAYS]
    if others:
        return f"{others[0].images.parent} used it {_ago(others[0].days)}"
    return ""


def _ago(days: float) -> str:
    return {0: "today", 1: "a day ago"}.get(int(days), f"{int(days)} days ago")


def _mib(one: Any) -> int:
    return int(one.attrs.get("Size", 0)) >> 20


def _prune(client: DockerClient) -> None:
    """Remove our nameless images that no other image needs: failed builds, and bases that were replaced."""
    client.images.prune(filters={"dangling": True, "label": builder_image.LABEL, "until": _DANGLING_AGE})
