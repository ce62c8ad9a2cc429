"""Which builder images `invoke clean` removes, and which it must not."""

from __future__ import annotations

import io
import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest
from docker.errors import APIError, ImageNotFound

from kmodpipe.build import builder_image, image_cleanup
from kmodpipe.util.errors import InfraError
from kmodpipe.util.screen import Mode, Screen

OLD, NEW, SHARED, OTHER = (f"sha256:{c * 64}" for c in "abcd")


@dataclass
class Image:
    id: str
    tags: list[str]
    attrs: dict[str, Any] = field(default_factory=lambda: {"Size": 412 << 20})


@dataclass
class Engine:
    """As much of the Docker SDK's client as the removal uses."""

    has: list[Image]
    bases: list[str] = field(default_factory=list)
    running: list[str] = field(default_factory=list)
    pruned: list[dict[str, object]] = field(default_factory=list)

    @property
    def images(self) -> Engine:
        return self

    @property
    def api(self) -> Engine:
        return self

    def get(self, name: str) -> Image:
        found = next((i for i in self.has if name in i.tags), None)
        if not found:
            raise ImageNotFound(name)
        return found

    def list(self, filters: dict[str, str]) -> list[Image]:
        assert filters == {"label": "org.kmodpipe.image=builder"}
        return list(self.has)

    def containers(self, all: bool) -> list[dict[str, str]]:
        assert all
        return [{"ImageID": one} for one in self.running]

    def remove(self, name: str) -> None:
        if name.startswith("kmodpipe-base:"):
            if name not in self.bases:
                raise ImageNotFound(name)
            self.bases.remove(name)
        self.has = [i for i in self.has if name not in i.tags]

    def prune(self, filters: dict[str, object]) -> None:
        self.pruned.append(filters)


@dataclass
class Scene:
    """Two checkouts with one cache; ``here`` has the image NEW."""

    here: Path
    there: Path
    cache: Path
    engine: Engine
    shown: io.StringIO = field(default_factory=io.StringIO)

    def used(
        self, images: Path, image_id: str, days: float = 0, release: str = builder_image.RELEASE
    ) -> None:
        image_cleanup.note_use(self.cache, images, image_id, release)
        for note in (self.cache / "builders" / image_id.removeprefix("sha256:")).iterdir():
            if note.read_text() == str(images):
                os.utime(note, (time.time() - days * 86400,) * 2)

    def clean(self) -> list[str]:
        """Who is left."""
        screen = Screen(Mode.PLAIN, out=self.shown)
        image_cleanup.remove_old(cast(Any, self.engine), self.here, self.cache, screen)
        return [one.id for one in self.engine.has]


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    for name in ("here", "there"):
        (tmp_path / name / "images" / "builder").mkdir(parents=True)
        (tmp_path / name / "images" / "builder" / "Dockerfile").write_text(f"FROM {name}\n")
        (tmp_path / name / "images" / "external").mkdir()
        (tmp_path / name / "images" / "external" / "Dockerfile").write_text(f"FROM {name}\n")
    here, there = tmp_path / "here" / "images", tmp_path / "there" / "images"
    engine = Engine([Image(OLD, ["kmodpipe-builder:old"]), Image(NEW, [builder_image.tag(here)])])
    return Scene(here, there, tmp_path / "cache", engine)


def test_the_image_before_this_checkouts_own_is_removed(scene: Scene) -> None:
    scene.used(scene.here, OLD)
    scene.used(scene.here, NEW)
    assert scene.clean() == [NEW]
    assert "removed kmodpipe-builder:old (412 MiB)" in scene.shown.getvalue()
    assert [p.name for p in (scene.cache / "builders").iterdir()] == ["b" * 64]
    assert scene.engine.pruned[0]["label"] == "org.kmodpipe.image"


@pytest.mark.parametrize(("days", "left"), [(1, [OLD, NEW]), (13, [OLD, NEW]), (15, [NEW])])
def test_what_another_checkout_used_stays_for_two_weeks(scene: Scene, days: float, left: list[str]) -> None:
    scene.used(scene.here, OLD, 20)
    scene.used(scene.there, OLD, days)
    scene.used(scene.here, NEW)
    assert scene.clean() == left
    if OLD in left:
        assert f"{scene.there.parent} used it" in scene.shown.getvalue()


def test_a_checkout_that_is_gone_keeps_nothing(scene: Scene) -> None:
    scene.used(scene.there, OLD)
    scene.used(scene.here, NEW)
    scene.there.rename(scene.there.with_name("away"))
    assert scene.clean() == [NEW]


def test_what_nobody_noted_a_container_has_or_a_user_named_stays(scene: Scene) -> None:
    scene.engine.has.append(Image(SHARED, ["kmodpipe-builder:x", "mine:1"]))
    scene.used(scene.here, SHARED, 30)
    scene.used(scene.here, NEW)
    assert scene.clean() == [OLD, NEW, SHARED]
    assert "there is no note who uses it" in scene.shown.getvalue()
    scene.used(scene.here, OLD, 30)
    scene.engine.running.append(OLD)
    assert scene.clean() == [OLD, NEW, SHARED]
    assert "a container uses it" in scene.shown.getvalue()


def test_a_shared_image_that_this_checkout_used_last_stays(scene: Scene) -> None:
    scene.used(scene.here, NEW, 3)
    scene.engine.has[0] = Image(SHARED, ["kmodpipe-builder:shared-cccccccccccc"])
    scene.used(scene.here, SHARED, 1)
    assert scene.clean() == [SHARED, NEW]


@pytest.mark.parametrize(("days", "left"), [(1, [OTHER, NEW]), (15, [NEW])])
def test_another_releases_image_stays_while_it_is_used(scene: Scene, days: float, left: list[str]) -> None:
    """The image of a release does not replace that of another, though it was used later."""
    scene.engine.has[0] = Image(OTHER, [builder_image.tag(scene.here, release="trixie")])
    scene.used(scene.here, NEW, 20)
    scene.used(scene.here, OTHER, days, "trixie")
    scene.engine.bases = [f"kmodpipe-base:{name}" for name in ("bookworm", "trixie", "sid")]
    assert scene.clean() == left
    # A base without an image on it is of no more use, but for the default image's.
    assert scene.engine.bases == [
        f"kmodpipe-base:{name}" for name in ("bookworm", *(["trixie"] if OTHER in left else []))
    ]


def test_the_image_before_of_another_release_is_removed(scene: Scene) -> None:
    scene.used(scene.here, OLD, 1, "sid")
    scene.engine.has.append(Image(OTHER, [builder_image.tag(scene.here, release="sid")]))
    scene.used(scene.here, OTHER, 0, "sid")
    scene.used(scene.here, NEW)
    assert scene.clean() == [NEW, OTHER]


def test_an_engine_that_refuses_is_told(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: object, name: str) -> None:
        raise APIError(f"conflict: unable to remove {name}")

    scene.used(scene.here, OLD)
    scene.used(scene.here, NEW)
    monkeypatch.setattr(Engine, "remove", refuse)
    with pytest.raises(InfraError, match="could not be removed: conflict"):
        scene.clean()
