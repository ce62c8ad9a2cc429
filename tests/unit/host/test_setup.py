"""setup: what it decides from facts alone, and what it then runs, in a world of recorded programs."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from kmodpipe.build import builder_image
from kmodpipe.build.runtime import docker_engine
from kmodpipe.build.runtime.docker_engine import Look, State
from kmodpipe.host import facts, setup
from kmodpipe.host.facts import Host
from kmodpipe.host.setup import Action, Kind
from kmodpipe.util.errors import InfraError, UserError
from kmodpipe.util.screen import Mode, Screen
from kmodpipe.util.sudo import Ask, RootShell
from tests.support import fake_engine
from tests.support.fake_engine import VERSION, FakeEngine

HERE = docker_engine.DEFAULT_ENDPOINT
KEYS = "debian-archive-keyring"
ALL = frozenset(
    {"dockerd", "iptables", "qemu-system-x86_64", "git", "xz", "zstd", "mmdebstrap", "apt-get", "sudo", KEYS}
)
READY = Host(
    distro="debian",
    like=frozenset(),
    version="12",
    uid=0,
    user="root",
    programs=ALL,
    engine=Look(State.ANSWERS, HERE, "20.10"),
    image="sha256:1",
    in_docker_group=False,
    systemd=False,
    lists_age_s=60.0,
)
FRESH = replace(
    READY,
    programs=frozenset({"git", "apt-get", KEYS}),
    engine=Look(State.NOT_INSTALLED, HERE),
    image=None,
    lists_age_s=None,
)


def kinds(actions: tuple[Action, ...]) -> list[Kind]:
    return [a.kind for a in actions]


# -- the decision ----------------------------------------------------------------------------------
def test_what_our_own_tests_take_is_installed_only_where_it_is_asked_for() -> None:
    assert "chromium" in setup.plan(READY, tests=True)[0].packages
    assert (
        setup.plan(replace(READY, programs=READY.programs | {n.program for n in facts.TESTS}), tests=True)
        == ()
    )


def test_nothing_is_planned_where_all_is_there() -> None:
    assert setup.plan(READY) == ()
    assert setup.plan(replace(READY, uid=1000, user="me")) == ()


def test_a_fresh_debian_gets_just_what_is_missing_in_order() -> None:
    actions = setup.plan(FRESH)
    assert kinds(actions) == [Kind.INSTALL, Kind.START, Kind.IMAGE]
    assert actions[0].packages == (
        "docker.io",
        "iptables",
        "qemu-system-x86",
        "xz-utils",
        "zstd",
        "mmdebstrap",
    )
    update, install = actions[0].commands
    assert update[-1] == "update"
    assert install[-len(actions[0].packages) :] == actions[0].packages
    assert {"install", "-y", "--no-install-recommends"} < set(install)


def test_fresh_package_lists_are_not_fetched_again_and_old_ones_are() -> None:
    def updates(age_s: float) -> bool:
        return any("update" in c for c in setup.plan(replace(FRESH, lists_age_s=age_s))[0].commands)

    assert not updates(3600)
    assert updates(3 * 24 * 3600)


def test_an_engine_that_answers_is_enough_wherever_it_came_from() -> None:
    machine = replace(READY, programs=ALL - {"dockerd", "iptables"})
    assert setup.plan(machine) == ()


def test_an_installed_engine_that_is_down_is_started_and_then_asked_for_the_image() -> None:
    machine = replace(READY, engine=Look(State.STOPPED, HERE), image=None)
    assert kinds(setup.plan(machine)) == [Kind.START, Kind.IMAGE]
    assert setup.plan(machine)[0].commands == (("service", "docker", "start"),)
    assert setup.plan(replace(machine, systemd=True))[0].commands == (("systemctl", "start", "docker"),)


def test_ubuntu_bootstraps_nothing_from_its_own_archive() -> None:
    ubuntu = replace(FRESH, distro="ubuntu", like=frozenset({"debian"}), version="24.04")
    packages = setup.plan(replace(ubuntu, programs=FRESH.programs - {KEYS}))[0].packages
    # Debian's kernels are tested there as well.
    assert {"docker.io", KEYS} < set(packages)
    assert "mmdebstrap" not in packages


def test_an_ordinary_user_is_admitted_to_the_socket() -> None:
    actions = setup.plan(replace(FRESH, uid=1000, user="me"))
    assert kinds(actions) == [Kind.INSTALL, Kind.START, Kind.ADMIT, Kind.IMAGE]
    assert "uidmap" in actions[0].packages
    assert actions[2].commands == (
        ("usermod", "-aG", "docker", "me"),
        ("chown", "me", "/var/run/docker.sock"),
    )
    denied = replace(READY, uid=1000, user="me", engine=Look(State.DENIED, HERE), in_docker_group=True)
    assert setup.plan(denied)[0].commands == (("chown", "me", "/var/run/docker.sock"),)


def test_fedora_is_told_the_exact_packages() -> None:
    fedora = replace(FRESH, distro="fedora", programs=frozenset({"git"}))
    with pytest.raises(UserError) as caught:
        setup.plan(fedora)
    assert "dnf install moby-engine" in caught.value.hint
    assert "missing: qemu-system-x86_64" in caught.value.detail
    assert "git (" not in caught.value.detail
    # With everything there, it works as anywhere.
    assert kinds(setup.plan(replace(READY, distro="fedora", image=None))) == [Kind.IMAGE]


def test_a_chosen_engine_that_does_not_answer_is_not_replaced() -> None:
    elsewhere = Look(State.STOPPED, "tcp://build-server:2375", detail="refused")
    with pytest.raises(UserError) as caught:
        setup.plan(replace(READY, engine=elsewhere, image=None))
    assert caught.value.where == "tcp://build-server:2375"
    assert "DOCKER_HOST" in caught.value.hint


def test_an_engine_that_hangs_is_trouble_and_not_a_plan() -> None:
    with pytest.raises(InfraError, match="does not answer"):
        setup.plan(replace(READY, engine=Look(State.SILENT, HERE), image=None))


# -- the world -------------------------------------------------------------------------------------
class World:
    """A PATH of small programs that record their calls, an engine socket, and a screen nobody sees."""

    def __init__(self, tmp_path: Path) -> None:
        # "sbin" in its name, so that no folder of the real machine is added to the search.
        self.bin = tmp_path / "sbin"
        self.bin.mkdir()
        self.calls_file = tmp_path / "calls"
        self.socket = tmp_path / "e.sock"
        self.cache = tmp_path / "cache"
        self.images = tmp_path / "images"
        (self.images / "builder").mkdir(parents=True)
        (self.images / "builder" / "Dockerfile").write_text("ARG BASE=debian:bookworm-slim\nFROM ${BASE}\n")
        for tool in ("sh", "env", "setsid", "true"):
            real = shutil.which(tool)
            assert real
            (self.bin / tool).symlink_to(real)

    def program(self, name: str, body: str = "") -> None:
        path = self.bin / name
        path.write_text(f'#!/bin/sh\necho "{name} $*" >> {self.calls_file}\n{body}\n')
        path.chmod(0o755)

    def calls(self) -> list[str]:
        return self.calls_file.read_text().splitlines() if self.calls_file.exists() else []

    def perform(self, actions: tuple[Action, ...], machine: Host, ask: Ask | None = None) -> tuple[str, ...]:
        return setup.perform(
            actions,
            machine,
            ask=ask,
            screen=Screen(Mode.QUIET),
            images_dir=self.images,
            cache=self.cache,
            daemon_args=["-H", f"unix://{self.socket}"],
        )


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    made = World(tmp_path)
    monkeypatch.setenv("PATH", str(made.bin))
    monkeypatch.setenv("DOCKER_HOST", f"unix://{made.socket}")
    for name in ("http_proxy", "https_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    return made


USER = replace(FRESH, uid=1000, user="me", programs=FRESH.programs | {"sudo"})
INSTALL = setup.plan(FRESH)[:1]


def test_root_installs_without_being_asked(world: World) -> None:
    world.program("apt-get", f'echo "frontend $DEBIAN_FRONTEND" >> {world.calls_file}')
    done = world.perform(INSTALL, FRESH)
    assert done == ("installed docker.io iptables qemu-system-x86 xz-utils zstd mmdebstrap",)
    calls = world.calls()
    assert calls[0].endswith(" update")
    assert calls[2].endswith(
        "--no-install-recommends docker.io iptables qemu-system-x86 xz-utils zstd mmdebstrap"
    )
    assert calls[1] == calls[3] == "frontend noninteractive"


def test_a_user_is_asked_once_with_the_commands_and_sudo_is_used(world: World) -> None:
    world.program("apt-get", f'echo "frontend $DEBIAN_FRONTEND" >> {world.calls_file}')
    world.program("sudo", 'while [ "${1#-}" != "$1" ]; do shift; done\nexec "$@"')
    asked: list[str] = []

    def agree(question: str) -> bool:
        asked.append(question)
        return True

    world.perform(setup.plan(USER)[:1], USER, agree)
    assert len(asked) == 1
    assert "sudo apt-get" in asked[0]
    assert "docker.io" in asked[0]
    assert "sudo -n true" in world.calls()
    as_root = [c for c in world.calls() if c.startswith("sudo") and "apt-get" in c]
    assert len(as_root) == 2
    assert world.calls()[-1] == "frontend noninteractive"


@pytest.mark.parametrize("answer", ["nobody to ask", "no", "no sudo", "no password"])
def test_without_consent_nothing_runs_and_the_commands_are_told(world: World, answer: str) -> None:
    world.program("apt-get")
    world.program("sudo", "exit 1")
    asks: dict[str, Ask | None] = {"nobody to ask": None, "no": lambda _: False}
    machine = replace(USER, programs=USER.programs - {"sudo"}) if answer == "no sudo" else USER
    with pytest.raises(UserError) as caught:
        world.perform(setup.plan(machine)[:1], machine, asks.get(answer, lambda _: True))
    prefix = "" if answer == "no sudo" else "sudo "
    lines = caught.value.detail.splitlines()
    assert lines[0].startswith(f"{prefix}apt-get")
    assert lines[1].startswith(f"{prefix}apt-get")
    assert "docker.io" in lines[1]
    assert caught.value.hint
    assert not [c for c in world.calls() if "apt-get" in c]


def test_a_failing_install_tells_the_command_and_its_last_words(world: World) -> None:
    world.program("apt-get", 'case "$*" in *install*) echo "E: no space" >&2; exit 100;; esac')
    with pytest.raises(InfraError) as caught:
        world.perform(INSTALL, FRESH)
    assert "E: no space" in caught.value.detail
    assert "docker.io" in caught.value.where
    assert "setup.log" in caught.value.hint


def test_one_dead_package_source_does_not_stop_the_installation(world: World) -> None:
    world.program("apt-get", 'case "$*" in *update*) exit 100;; esac')
    assert world.perform(INSTALL, FRESH)
    assert len(world.calls()) == 2


@pytest.fixture
def daemons(world: World) -> Iterator[World]:
    """A world whose dockerd is a fake one; whatever was started in it is ended."""
    script = fake_engine.__file__
    world.program("dockerd", f'exec {sys.executable} {script} "$@"')
    yield world
    pid = world.cache / "logs" / "dockerd.log.pid"
    if pid.exists():
        with suppress(ProcessLookupError):
            os.kill(int(pid.read_text()), signal.SIGKILL)


def test_the_engine_is_started_for_good_and_the_next_start_does_nothing(daemons: World) -> None:
    start = (Action(Kind.START, "start Docker Engine"),)
    stopped = replace(READY, engine=Look(State.STOPPED, HERE))
    assert daemons.perform(start, stopped) == ("started Docker Engine by dockerd; it keeps running",)
    assert docker_engine.look().version == VERSION
    pid = int((daemons.cache / "logs" / "dockerd.log.pid").read_text())
    assert os.getsid(pid) == pid != os.getsid(0)
    assert daemons.perform(start, stopped) == ("Docker Engine runs already",)
    assert len(daemons.calls()) == 1


def test_an_engine_that_dies_at_once_is_told_with_its_log_and_without_the_whole_wait(world: World) -> None:
    world.program("dockerd", "echo 'failed to start daemon: no cgroups'; exit 1")
    with pytest.raises(InfraError) as caught:
        docker_engine.start(
            Screen(Mode.QUIET),
            log=world.cache / "dockerd.log",
            shell=RootShell(),
            timeout_s=60,
            daemon_args=["-H", f"unix://{world.socket}"],
        )
    assert "ended at once" in caught.value.what
    assert "no cgroups" in caught.value.detail


def test_systemd_alone_is_used_where_it_runs_and_the_init_script_before_the_daemon(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert [w.name for w in docker_engine.ways(log, root=tmp_path)] == ["dockerd"]
    script = tmp_path / "etc/init.d/docker"
    script.parent.mkdir(parents=True)
    script.write_text("#!/bin/sh\n")
    script.chmod(0o755)
    assert [w.name for w in docker_engine.ways(log, root=tmp_path)] == ["service", "dockerd"]
    (tmp_path / "run/systemd/system").mkdir(parents=True)
    assert [w.name for w in docker_engine.ways(log, root=tmp_path)] == ["systemctl"]


def test_what_was_done_before_a_failure_is_told(world: World) -> None:
    world.program("apt-get")
    with pytest.raises(InfraError) as caught:
        world.perform((*INSTALL, Action(Kind.IMAGE, "build the builder image")), FRESH)
    assert "not installed" in caught.value.what or "does not answer" in caught.value.what
    assert "done before: installed docker.io" in caught.value.detail


def test_setup_builds_the_image_and_a_second_run_changes_nothing(world: World) -> None:
    for name in ALL:
        world.program(name)
    with FakeEngine(world.socket) as state:
        state.registry.add(builder_image.base_of())
        screen = Screen(Mode.QUIET)
        assert setup.run(world.images, world.cache, screen, None) == (
            f"built the builder image {builder_image.tag(world.images)}",
        )
        changes = len(state.changes())
        assert changes == 2
        assert setup.run(world.images, world.cache, screen, None) == ()
        assert len(state.changes()) == changes
    assert world.calls() == []
