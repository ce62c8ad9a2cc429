"""The builder image: which base it stands on, what it is called, and what its failures say."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from kmodpipe.build import builder_image
from kmodpipe.build.runtime import docker_engine
from kmodpipe.source import distribution
from kmodpipe.source.distribution import AptSource
from kmodpipe.util.errors import InfraError, UserError
from kmodpipe.util.screen import Mode, Screen
from tests.support.fake_engine import FakeEngine, State

DOCKERFILE = "ARG BASE=debian:bookworm-slim\nFROM ${BASE}\nRUN true\n"


class World:
    def __init__(self, tmp_path: Path, state: State) -> None:
        self.state = state
        self.images = tmp_path / "images"
        self.cache = tmp_path / "cache"
        self.bin = tmp_path / "sbin"
        self.bin.mkdir()
        self.file = self.images / "builder" / "Dockerfile"
        self.file.parent.mkdir(parents=True)
        self.file.write_text(DOCKERFILE)
        self.external = self.images / "external" / "Dockerfile"
        self.external.parent.mkdir()
        self.external.write_text("ARG BASE\nFROM ${BASE}\nRUN true\n")

    def program(self, name: str, body: str) -> None:
        (self.bin / name).write_text(f"#!/bin/sh\n{body}\n")
        (self.bin / name).chmod(0o755)

    def apt(self, *rows: str) -> None:
        self.program("apt-get", "printf '%s\\n' " + " ".join(f"'{r}'" for r in rows))
        self.program("apt-config", "echo 'Acquire::http::Proxy \"http://proxy.invalid:3142\";'")

    def ensure(self, release: str = builder_image.RELEASE) -> str:
        client, screen = docker_engine.connect(), Screen(Mode.QUIET)
        return builder_image.ensure(client, self.images, self.cache, screen, release=release)

    def builds(self) -> list[dict[str, str]]:
        return [c.query for c in self.state.calls if c.path == "/build"]


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/e.sock")
    with FakeEngine(tmp_path / "e.sock") as state:
        made = World(tmp_path, state)
        monkeypatch.setenv("PATH", f"{made.bin}:{os.environ['PATH']}")
        yield made


DEBIAN = "http://mirror.invalid/debian|bookworm|main|Debian|Debian"


def test_a_registry_that_answers_gives_the_base(world: World) -> None:
    world.state.registry.add("debian:bookworm-slim")
    found = world.ensure()
    (build,) = world.builds()
    assert found == world.state.images[build["t"]]
    assert build["t"] == builder_image.tag(world.images)
    assert json.loads(build["buildargs"])["BASE"] == "debian:bookworm-slim"
    labels = json.loads(build["labels"])
    assert (labels[builder_image.LABEL], labels[builder_image.BASE_LABEL]) == ("builder", "registry")
    # A container inherits its image's labels: none may make it look like somebody's job.
    assert "org.kmodpipe.owner" not in labels


def test_an_image_that_is_there_is_only_looked_at(world: World) -> None:
    world.state.registry.add("debian:bookworm-slim")
    first = world.ensure()
    changes = len(world.state.changes())
    assert world.ensure() == first == builder_image.find(docker_engine.connect(), world.images)
    assert len(world.state.changes()) == changes


def test_the_name_follows_the_dockerfile_and_nothing_else(world: World) -> None:
    first = builder_image.tag(world.images)
    (world.images / "builder" / "base.sh").write_text("a recipe that is mounted, not built in\n")
    assert builder_image.tag(world.images) == first
    world.file.write_text(DOCKERFILE + "RUN false\n")
    assert builder_image.tag(world.images) != first
    assert builder_image.find(docker_engine.connect(), world.images) is None


def test_each_release_has_an_image_of_its_own(world: World) -> None:
    for name in ("bookworm", "trixie"):
        world.state.registry.add(f"debian:{name}-slim")
    made = {name: world.ensure(name) for name in ("bookworm", "trixie")}
    kernels, modules = world.builds()
    assert json.loads(modules["buildargs"])["BASE"] == "debian:trixie-slim"
    assert modules["t"].startswith("kmodpipe-builder:trixie-")
    assert "-" not in kernels["t"].removeprefix("kmodpipe-builder")
    assert world.ensure("trixie") == made["trixie"]
    assert len(world.builds()) == 2
    # What modules are built with is no part of the image that kernels are built in.
    before = builder_image.tag(world.images)
    world.external.write_text("FROM other\n")
    assert builder_image.tag(world.images) == before
    assert builder_image.tag(world.images, release="trixie") != modules["t"]


def test_the_base_of_another_release_is_bootstrapped_too(world: World) -> None:
    world.apt(DEBIAN)
    world.program(
        "mmdebstrap", f'echo "$*" > {world.cache}/args\nfor a; do case $a in *.tar) : > "$a";; esac; done'
    )
    world.ensure("sid")
    assert next(c for c in world.state.calls if c.path == "/images/create").query["tag"] == "sid"
    assert json.loads(world.builds()[0]["buildargs"])["BASE"] == "kmodpipe-base:sid"
    assert "sid-updates" not in (world.cache / "args").read_text()
    assert (world.cache / "logs/builder-image-sid.log").exists()


def test_a_release_that_is_not_known_is_refused(world: World) -> None:
    with pytest.raises(UserError, match="did you mean trixie"):
        world.ensure("trixe")
    assert world.state.changes() == []


def test_without_a_registry_the_base_comes_from_this_machines_apt(world: World) -> None:
    world.apt(DEBIAN, "http://other.invalid/tools|bookworm|main|Other|Other")
    # The tar is the argument before the first source.
    world.program(
        "mmdebstrap",
        f'echo "$*" > {world.cache}/args\nfor a; do case $a in *.tar) echo rootfs > "$a";; esac; done',
    )
    world.ensure()
    made = next(c for c in world.state.calls if c.path == "/images/create")
    assert made.query["repo"] == "kmodpipe-base"
    assert made.body == b"rootfs\n"
    assert json.loads(world.builds()[0]["buildargs"])["BASE"] == "kmodpipe-base:bookworm"
    arguments = (world.cache / "args").read_text()
    assert "http://mirror.invalid/debian bookworm main" in arguments
    assert "proxy.invalid:3142" in arguments
    assert "other.invalid" not in arguments
    assert not list((world.cache / "work").iterdir())


def test_a_bootstrap_that_fails_imports_nothing(world: World) -> None:
    world.apt(DEBIAN)
    world.program(
        "mmdebstrap", 'for a; do case $a in *.tar) echo half > "$a";; esac; done\necho "E: 404" >&2; exit 25'
    )
    with pytest.raises(InfraError) as caught:
        world.ensure()
    assert "no such host" in caught.value.what
    assert "mmdebstrap exited with status 25" in caught.value.what
    assert "E: 404" in caught.value.detail
    assert world.state.changes() == []


def test_ubuntu_without_a_registry_is_told_that_it_needs_one(world: World) -> None:
    world.apt("http://mirror.invalid/ubuntu|noble|main|Ubuntu|Ubuntu")
    with pytest.raises(InfraError) as caught:
        world.ensure()
    assert "no Debian mirror" in caught.value.what
    assert "registry" in caught.value.hint
    assert world.state.changes() == []


def test_a_failing_build_shows_the_last_lines_and_the_log(world: World) -> None:
    world.state.registry.add("debian:bookworm-slim")
    world.state.build_events = [
        {"stream": "Step 2/2 : RUN apt-get update\n"},
        {"stream": "Err:1 Temporary failure resolving 'mirror.invalid'\n"},
        {"errorDetail": {"message": "code 100"}, "error": "The command returned a non-zero code: 100"},
    ]
    with pytest.raises(InfraError) as caught:
        world.ensure()
    assert "non-zero code: 100" in caught.value.what
    assert "Temporary failure resolving" in caught.value.detail
    assert "package mirror cannot be reached" in caught.value.hint
    log = world.cache / "logs" / "builder-image.log"
    assert str(log) in caught.value.where
    assert "Step 2/2" in log.read_text()


def test_proxies_of_the_environment_reach_the_build(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://proxy.invalid:3128")
    world.state.registry.add("debian:bookworm-slim")
    world.ensure()
    arguments = json.loads(world.builds()[0]["buildargs"])
    assert arguments["http_proxy"] == arguments["HTTP_PROXY"] == "http://proxy.invalid:3128"


UBUNTU = "http://mirror.invalid/ubuntu|jammy|main|Ubuntu|Ubuntu"
KERNELS = AptSource(
    distribution.UBUNTU, ("noble",), "http://kernels.invalid/ubuntu", keyring=Path("/k/y.gpg")
)


def bootstrapped(world: World, release: str, packages: AptSource | None) -> str:
    """What mmdebstrap is told when no registry answers."""
    world.program(
        "mmdebstrap", f'echo "$*" > {world.cache}/args\nfor a; do case $a in *.tar) : > "$a";; esac; done'
    )
    client = docker_engine.connect()
    builder_image.ensure(
        client, world.images, world.cache, Screen(Mode.QUIET), release=release, packages=packages
    )
    return (world.cache / "args").read_text()


def test_ubuntus_base_has_its_own_name_in_registries(world: World) -> None:
    world.state.registry.add("ubuntu:noble")
    world.ensure("noble")
    assert json.loads(world.builds()[0]["buildargs"])["BASE"] == "ubuntu:noble"


def test_ubuntus_base_is_bootstrapped_from_ubuntus_archive(world: World) -> None:
    world.apt(DEBIAN, UBUNTU)
    arguments = bootstrapped(world, "noble", KERNELS)
    keyring = "/usr/share/keyrings/ubuntu-archive-keyring.gpg"
    assert (
        f"deb [arch=amd64 signed-by={keyring}] http://mirror.invalid/ubuntu noble-updates main" in arguments
    )
    assert "/debian" not in arguments
    # In the image they are at a place that has nothing to do with this machine.
    assert f'install -D -m 644 {keyring} "$1"/usr/share/keyrings/kmodpipe-archive.gpg' in arguments


def test_without_ubuntus_archive_that_of_the_kernel_is_taken(world: World) -> None:
    world.apt(DEBIAN)
    arguments = bootstrapped(world, "noble", KERNELS)
    assert "deb [arch=amd64 signed-by=/k/y.gpg] http://kernels.invalid/ubuntu noble main" in arguments


def test_a_release_that_only_an_archive_knows_asks_no_registry(world: World) -> None:
    world.apt(DEBIAN)
    own = dataclasses.replace(KERNELS, suites=("ours",))
    assert "http://kernels.invalid/ubuntu ours main" in bootstrapped(world, "ours", own)
    with pytest.raises(UserError, match="unknown release 'ours2'"):
        world.ensure("ours2")


def test_debians_base_is_debians_even_if_a_kernel_is_from_elsewhere(world: World) -> None:
    world.apt(DEBIAN)
    own = AptSource(distribution.DEBIAN, ("trixie",), "http://kernels.invalid/debian")
    assert "http://mirror.invalid/debian trixie main" in bootstrapped(world, "trixie", own)
