"""setup against the real engine: look, connect, start, and the builder image."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from kmodpipe.build import builder_image, image_cleanup
from kmodpipe.build.runtime import docker_engine
from kmodpipe.build.runtime.docker_engine import State
from kmodpipe.host import facts, setup
from kmodpipe.util import process
from kmodpipe.util.errors import InfraError
from kmodpipe.util.screen import Mode, Screen
from kmodpipe.util.sudo import RootShell

pytestmark = pytest.mark.integration

IMAGES = Path(__file__).parents[2] / "images"
NAMES = builder_image.Names("kmodpipe-test-builder", "kmodpipe-test-base")
_TEST_LABEL = "org.kmodpipe.test"


@pytest.fixture
def running() -> None:
    found = docker_engine.look()
    if found.state is not State.ANSWERS:
        pytest.skip(f"needs a Docker Engine that answers: {found.state}")


@pytest.fixture
def tiny(tmp_path: Path, running: None) -> Iterator[tuple[Path, str]]:
    """An images folder whose builder is quickly built on some image of this machine, and that image."""
    client = docker_engine.connect()
    base = next((i.tags[0] for i in client.images.list() if i.tags), None)
    if base is None:
        pytest.skip("needs any image to build on (the builder image will do: invoke setup)")
    file = tmp_path / "images" / "builder" / "Dockerfile"
    file.parent.mkdir(parents=True)
    file.write_text(f"ARG BASE=scratch\nFROM ${{BASE}}\nLABEL {_TEST_LABEL}={time.time_ns()}\n")
    yield tmp_path / "images", base
    for made in client.images.list(name=NAMES.builder):
        for name in made.tags:
            client.images.remove(name)
    # What a failed build had finished stays in the engine as a nameless image.
    client.images.prune(filters={"dangling": True, "label": _TEST_LABEL})


def test_the_image_is_built_once_and_found_in_no_time(tiny: tuple[Path, str], tmp_path: Path) -> None:
    images, base = tiny
    client, screen = docker_engine.connect(), Screen(Mode.QUIET)
    assert builder_image.find(client, images, names=NAMES) is None
    first = builder_image.ensure(client, images, tmp_path / "c", screen, names=NAMES, registry_base=base)
    assert client.images.get(first).labels[builder_image.LABEL] == "builder"
    started = time.monotonic()
    assert (
        builder_image.ensure(client, images, tmp_path / "c", screen, names=NAMES, registry_base=base) == first
    )
    assert time.monotonic() - started < 2


def test_an_old_image_goes_once_no_container_has_it(tiny: tuple[Path, str], tmp_path: Path) -> None:
    images, base = tiny
    client, cache, screen = docker_engine.connect(), tmp_path / "c", Screen(Mode.QUIET)
    made = []
    for _ in range(2):
        made.append(builder_image.ensure(client, images, cache, screen, names=NAMES, registry_base=base))
        image_cleanup.note_use(cache, images, made[-1])
        with (images / "builder" / "Dockerfile").open("a") as f:
            f.write(f"LABEL {_TEST_LABEL}={time.time_ns()}\n")
    old, new = made
    container = client.containers.create(old, ["true"], network_mode="none")
    try:
        assert image_cleanup.remove_old(client, images, cache, screen, names=NAMES) == 0
    finally:
        container.remove(force=True)
    assert image_cleanup.remove_old(client, images, cache, screen, names=NAMES) == 1
    left = {i.id for i in client.images.list(name=NAMES.builder)}
    # Its recipe has changed since, and it is what this checkout used last all the same.
    assert new in left and old not in left


def test_a_build_that_fails_says_so_and_leaves_no_container(tiny: tuple[Path, str], tmp_path: Path) -> None:
    images, base = tiny
    client = docker_engine.connect()
    mark = f"broken-{time.time_ns()}"
    with (images / "builder" / "Dockerfile").open("a") as f:
        f.write(f"RUN echo {mark} && exit 7\n")
    with pytest.raises(InfraError) as caught:
        builder_image.ensure(
            client, images, tmp_path / "c", Screen(Mode.QUIET), names=NAMES, registry_base=base
        )
    assert "7" in caught.value.what
    assert mark in caught.value.detail
    assert builder_image.find(client, images, names=NAMES) is None
    commands = [c.attrs["Config"]["Cmd"] for c in client.containers.list(all=True, ignore_removed=True)]
    assert not [c for c in commands if mark in str(c)]


_INTERRUPTED = """
import signal, sys
# As tasks.py does: a test run in the background hands SIGINT down ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)
from pathlib import Path
from kmodpipe.build import builder_image
from kmodpipe.build.runtime import docker_engine
from kmodpipe.util.screen import Mode, Screen
images, cache, base = sys.argv[1:]
names = builder_image.Names("kmodpipe-test-builder", "kmodpipe-test-base")
screen = Screen(Mode.QUIET)
builder_image.ensure(
    docker_engine.connect(), Path(images), Path(cache), screen, names=names, registry_base=base
)
"""


def test_an_interrupted_build_ends_in_the_engine_too(tiny: tuple[Path, str], tmp_path: Path) -> None:
    images, base = tiny
    client = docker_engine.connect()
    mark = f"slow-{time.time_ns()}"
    with (images / "builder" / "Dockerfile").open("a") as f:
        f.write(f"RUN echo {mark}; sleep 100\n")

    def containers() -> list[str]:
        found = client.containers.list(all=True, ignore_removed=True)
        return [str(c.id) for c in found if mark in str(c.attrs["Config"]["Cmd"])]

    def until(wanted: bool) -> bool:
        deadline = time.monotonic() + 20
        while bool(containers()) is not wanted and time.monotonic() < deadline:
            time.sleep(0.1)
        return bool(containers()) is wanted

    with subprocess.Popen(
        [sys.executable, "-c", _INTERRUPTED, str(images), str(tmp_path / "c"), base], stderr=subprocess.PIPE
    ) as child:
        assert until(True), child.communicate(timeout=30)
        child.send_signal(signal.SIGINT)
        assert child.wait(10) != 0
        assert until(False)


def test_a_machine_that_has_all_is_seen_as_such_in_no_time(running: None) -> None:
    if builder_image.find(docker_engine.connect(), IMAGES) is None:
        pytest.skip("needs the builder image: invoke setup")
    started = time.monotonic()
    assert setup.plan(facts.gather(IMAGES)) == ()
    assert time.monotonic() - started < 2


# -- engines that do not answer --------------------------------------------------------------------
def test_a_dead_socket_is_told_apart_from_a_silent_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "s"
    monkeypatch.setenv("DOCKER_HOST", f"unix://{path}")
    assert docker_engine.look().detail == "there is no such socket"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        assert docker_engine.look().detail == "nothing listens on the socket"
        listener.listen()
        started = time.monotonic()
        assert docker_engine.look(1).state is State.SILENT
        assert time.monotonic() - started < 5
    with pytest.raises(InfraError) as caught:
        docker_engine.connect()
    assert caught.value.where == f"unix://{path}"
    assert "DOCKER_HOST" in caught.value.hint


@pytest.mark.skipif(os.getuid() != 0, reason="needs root to become nobody")
def test_a_socket_of_somebody_else_is_permission_denied(tmp_path: Path) -> None:
    # In a child: what gives up root cannot have it back.
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        path.chmod(0o600)
        listener.listen()
        for folder in (tmp_path, *tmp_path.parents[:3]):
            if folder != Path("/tmp"):
                folder.chmod(folder.stat().st_mode | 0o011)
        child = os.fork()
        if child == 0:
            code = 99
            with suppress(BaseException):
                os.setgroups([])
                os.setuid(65534)
                os.environ["DOCKER_HOST"] = f"unix://{path}"
                code = 0 if docker_engine.look().state is State.DENIED else 1
            os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


_UNSHARE = ["unshare", "--net", "true"]


@pytest.fixture
def private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[list[str], Path]]:
    """Arguments for a dockerd that shares nothing with the machine's, ended afterwards; and its log."""
    dockerd = shutil.which("dockerd", path=process.clean_environment()["PATH"])
    if os.getuid() != 0 or dockerd is None or process.run(_UNSHARE, timeout_s=10, check=False).returncode:
        pytest.skip("needs root, dockerd and a network namespace")
    # In a network of its own: a dockerd without a bridge deletes docker0, which is the machine's engine's.
    wrapper = tmp_path / "sbin" / "dockerd"
    wrapper.parent.mkdir()
    wrapper.write_text(f'#!/bin/sh\nexec unshare --net {dockerd} "$@"\n')
    wrapper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{wrapper.parent}:{os.environ['PATH']}")
    # Below /tmp itself: containerd's sockets are deep inside, and a socket's path has 107 bytes (unix(7)).
    folder = Path(tempfile.mkdtemp(prefix="kp-", dir="/tmp"))
    monkeypatch.setenv("DOCKER_HOST", f"unix://{folder}/s")
    log = tmp_path / "dockerd.log"
    bridge = Path("/sys/class/net/docker0")
    had_bridge = bridge.exists()
    arguments = [f"--data-root={folder}/data", f"--exec-root={folder}/exec", f"--pidfile={folder}/pid"]
    yield [*arguments, f"--host=unix://{folder}/s", "--bridge=none", "--iptables=false"], log
    pid_file = log.with_name(f"{log.name}.pid")
    if pid_file.exists():
        with suppress(ProcessLookupError):
            pid = int(pid_file.read_text())
            os.kill(pid, signal.SIGTERM)
            for _ in range(100):
                os.kill(pid, 0)
                time.sleep(0.1)
    # dockerd keeps its data root mounted on itself when it dies early.
    with suppress(Exception):
        process.run(["umount", str(folder / "data")], timeout_s=10, check=False)
    shutil.rmtree(folder, ignore_errors=True)
    assert bridge.exists() == had_bridge


def test_a_real_engine_starts_answers_and_outlives_its_starter(private: tuple[list[str], Path]) -> None:
    arguments, log = private
    screen = Screen(Mode.QUIET)
    assert docker_engine.start(screen, log=log, shell=RootShell(), daemon_args=arguments) == "dockerd"
    assert docker_engine.connect().ping()
    pid = int(log.with_name(f"{log.name}.pid").read_text())
    assert os.getsid(pid) == pid
    assert docker_engine.start(screen, log=log, shell=RootShell(), daemon_args=arguments) == ""


def test_a_real_engine_that_cannot_start_says_why_at_once(private: tuple[list[str], Path]) -> None:
    arguments, log = private
    started = time.monotonic()
    with pytest.raises(InfraError) as caught:
        docker_engine.start(
            Screen(Mode.QUIET),
            log=log,
            shell=RootShell(),
            daemon_args=[*arguments, "--storage-driver=nonesuch"],
        )
    assert time.monotonic() - started < 20
    assert "nonesuch" in caught.value.detail
