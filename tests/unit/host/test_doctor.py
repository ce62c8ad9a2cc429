"""doctor: one line a need, the fix beside each problem, and nothing changed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from kmodpipe.build import builder_image
from kmodpipe.build.runtime.docker_engine import DEFAULT_ENDPOINT, Look
from kmodpipe.build.runtime.docker_engine import State as EngineState
from kmodpipe.host import doctor
from kmodpipe.host.doctor import Finding
from kmodpipe.util.errors import InfraError
from kmodpipe.util.screen import Mode, Screen
from kmodpipe.vm import speed
from tests.support.fake_engine import VERSION, FakeEngine


@dataclass(frozen=True)
class Spec:
    """Of a TreeSpec, what doctor reads."""

    name: str
    stand_in: str | None = None


TREES = {"main": Spec("main", "spare"), "spare": Spec("spare")}
KVM = SimpleNamespace(name="kvm", cpu="host", reason="", confined=True)


class World:
    def __init__(self, tmp_path: Path) -> None:
        self.bin = tmp_path / "sbin"
        self.bin.mkdir()
        self.socket = tmp_path / "e.sock"
        self.cache = tmp_path / "cache"
        self.images = tmp_path / "images"
        (self.images / "builder").mkdir(parents=True)
        (self.images / "builder" / "Dockerfile").write_text("FROM scratch\n")

    def program(self, name: str, body: str) -> None:
        (self.bin / name).write_text(f"#!/bin/sh\n{body}\n")
        (self.bin / name).chmod(0o755)

    def examine(
        self,
        reach: Callable[[Any], tuple[bool, str]] = lambda spec: (True, "reached"),
        probe: Callable[..., Any] = lambda cache, screen: KVM,
        trees: Mapping[str, Spec] = TREES,
        default_tree: str | None = None,
        network_s: float = 6,
    ) -> tuple[Finding, ...]:
        return doctor.examine(
            self.images,
            self.cache,
            Screen(Mode.QUIET),
            cast(Any, trees),
            default_tree=default_tree,
            reach=reach,
            probe=probe,
            network_s=network_s,
        )


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    made = World(tmp_path)
    monkeypatch.setenv("PATH", str(made.bin))
    monkeypatch.setenv("DOCKER_HOST", f"unix://{made.socket}")
    return made


def by_need(findings: tuple[Finding, ...]) -> dict[str, Finding]:
    return {f.need: f for f in findings}


def test_a_bare_machine_has_a_fix_beside_every_problem_and_is_left_as_it_was(
    world: World, tmp_path: Path
) -> None:
    before = sorted(tmp_path.rglob("*"))
    findings = world.examine(probe=lambda *_: pytest.fail("there is no QEMU to probe"))
    found = by_need(findings)
    for need in ("Docker Engine", "builder image", "QEMU", "accelerator", "git"):
        assert found[need].ok is False
        assert found[need].fix
    assert not doctor.healthy(findings)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_ready_machine_is_healthy_and_only_looked_at(world: World) -> None:
    world.program("qemu-system-x86_64", "echo 'QEMU emulator version 7.2.1'")
    world.program("git", "echo 'git version 2.39'")
    with FakeEngine(world.socket) as state:
        state.images[builder_image.tag(world.images)] = "sha256:" + "d" * 64
        findings = world.examine()
        assert state.changes() == []
    found = by_need(findings)
    assert doctor.healthy(findings), findings
    assert VERSION in found["Docker Engine"].found
    assert "dddddddddddd" in found["builder image"].found
    assert found["QEMU"].found == "QEMU emulator version 7.2.1"
    assert "kvm" in found["accelerator"].found
    # This QEMU runs nothing; a machine of which nothing is known is no obstacle.
    assert found["speed"].ok is None and "not measured" in found["speed"].found
    assert not world.cache.exists()


@pytest.mark.parametrize(
    ("seconds", "ok", "told"), [(0.2, True, "limits are as declared"), (0.75, None, "limits are ×3")]
)
def test_the_machines_speed_is_told(
    world: World, monkeypatch: pytest.MonkeyPatch, seconds: float, ok: bool | None, told: str
) -> None:
    world.program("qemu-system-x86_64", "echo 'QEMU emulator version 7.2.1'")
    monkeypatch.setattr(speed, "measure", lambda *_: speed.Speed(seconds))
    found = by_need(world.examine())["speed"]
    assert found.ok is ok and found.found.endswith(told)


def test_a_program_that_is_there_and_broken_is_not_met(world: World) -> None:
    world.program("git", "echo 'cannot load library' >&2; exit 127")
    git = by_need(world.examine())["git"]
    assert git.ok is False
    assert "cannot load library" in git.found


def test_an_accelerator_that_cannot_be_proved_is_not_met(world: World) -> None:
    world.program("qemu-system-x86_64", "echo QEMU")

    def probe(*_: object) -> object:
        raise InfraError("QEMU boots nothing", hint="reinstall it")

    assert by_need(world.examine(probe=probe))["accelerator"] == Finding(
        "accelerator", False, "QEMU boots nothing", "reinstall it"
    )


def test_kvm_that_hangs_is_told_with_what_runs_instead(world: World) -> None:
    world.program("qemu-system-x86_64", "echo QEMU")
    tcg = SimpleNamespace(name="tcg", cpu="max", reason="KVM opens and runs nothing", confined=True)
    found = by_need(world.examine(probe=lambda *_: tcg))["accelerator"]
    assert found.ok is True
    assert "tcg" in found.found
    assert "KVM opens and runs nothing" in found.found


def _only(*names: str) -> Callable[[Any], tuple[bool, str]]:
    return lambda spec: (spec.name in names, f"{spec.name} was asked")


def test_an_unreachable_tree_with_a_stand_in_is_a_warning(world: World) -> None:
    found = by_need(world.examine(_only("spare")))
    assert found["tree main"].ok is None
    assert "spare" in found["tree main"].fix
    assert found["tree spare"].ok is True
    assert found["tree main"].found == "main was asked"


def test_an_unreachable_tree_whose_stand_in_is_unreachable_too_is_a_problem(world: World) -> None:
    found = by_need(world.examine(_only()))
    assert found["tree main"].ok is False
    assert found["tree spare"].ok is False
    # Nobody needs the spare one while the default tree is there.
    found = by_need(world.examine(_only("main"), default_tree="main"))
    assert (found["tree main"].ok, found["tree spare"].ok) == (True, None)


def test_sources_are_asked_at_once_and_nobody_is_waited_for_long(world: World) -> None:
    together = threading.Barrier(5)
    never = threading.Event()

    def reach(spec: Any) -> tuple[bool, str]:
        if spec.name == "silent":
            never.wait(60)
        if spec.name == "broken":
            raise RuntimeError("no route")
        together.wait(0.9)
        return True, "reached"

    trees = {n: Spec(n) for n in ("a", "b", "c", "d", "e", "silent", "broken")}
    started = time.monotonic()
    found = by_need(world.examine(reach, trees=trees, network_s=1))
    assert time.monotonic() - started < 3
    never.set()
    assert all(found[f"tree {n}"].ok for n in "abcde")
    assert "no answer" in found["tree silent"].found
    assert found["tree broken"] == Finding("tree broken", False, "no route", found["tree broken"].fix)


def test_no_right_to_the_socket_is_told_apart_from_no_engine() -> None:
    denied = Look(EngineState.DENIED, DEFAULT_ENDPOINT)
    assert doctor.rights(1000, "me", denied).ok is False
    assert "may not use its socket" in doctor.docker(denied).found
    assert "not installed" in doctor.docker(Look(EngineState.NOT_INSTALLED, DEFAULT_ENDPOINT)).found
    assert "not running" in doctor.docker(Look(EngineState.STOPPED, DEFAULT_ENDPOINT)).found
    assert doctor.rights(0, "root", Look(EngineState.STOPPED, DEFAULT_ENDPOINT)).ok is True


@pytest.mark.parametrize(
    ("available_kib", "ok"), [(8_000_000, True), (1_500_000, None), (300_000, False), (None, None)]
)
def test_memory_is_judged_by_what_is_available(available_kib: int | None, ok: bool | None) -> None:
    text = "MemTotal: 9000000 kB\n" + (f"MemAvailable: {available_kib} kB\n" if available_kib else "")
    finding = doctor.memory(text)
    assert finding.ok is ok
    assert bool(finding.fix) is (ok is not True)


def test_the_table_has_a_line_a_need_and_shows_controls_as_text(capsys: pytest.CaptureFixture[str]) -> None:
    findings = (Finding("git", True, "git 2"), Finding("QEMU", False, "\x1b[31mgone", "run: invoke setup"))
    Screen(Mode.QUIET).show(doctor.table(findings))
    lines = [line for line in capsys.readouterr().out.splitlines() if line.strip()]
    assert len(lines) == 3
    assert "run: invoke setup" in lines[2]
    assert "\\x1b[31mgone" in lines[2]
