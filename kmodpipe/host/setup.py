"""Set a machine up for kmodpipe: decide what is missing (`plan`, pure), then install that (`perform`).

Root is needed for the package manager, to start the engine, and for its socket; another user is asked before
sudo is used. Nothing is removed or reconfigured, and nothing is changed if nothing is missing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from kmodpipe.build import builder_image, shared_image
from kmodpipe.build.runtime import docker_engine
from kmodpipe.build.runtime.docker_engine import State
from kmodpipe.cache.share import Share
from kmodpipe.cache.store import Store
from kmodpipe.host import facts
from kmodpipe.host.facts import Host, Need
from kmodpipe.util import process
from kmodpipe.util.errors import InfraError, KmodpipeError, UserError
from kmodpipe.util.sudo import Ask, RootShell, obtain

if TYPE_CHECKING:
    from kmodpipe.util.screen import Screen, Step

_LISTS_FRESH_S = 24 * 3600
_UPDATE_TIMEOUT_S = 180
_INSTALL_TIMEOUT_S = 900
_APT_OPTIONS = ("-o", "DPkg::Lock::Timeout=120", "-o", "Acquire::Retries=2")
_APT_ENV = {"DEBIAN_FRONTEND": "noninteractive", "NEEDRESTART_MODE": "l"}

# For other distributions: what the user should install, by os-release's ID.
_OTHER_PACKAGES = {
    "fedora": "dnf install moby-engine iptables-nft qemu-system-x86-core git xz zstd",
    "rhel": "dnf install docker-ce qemu-kvm git xz zstd (docker-ce is in Docker's own repository)",
    "arch": "pacman -S docker iptables-nft qemu-system-x86 git xz zstd",
    "suse": "zypper install docker iptables qemu-x86 git xz zstd",
    "alpine": "apk add docker iptables qemu-system-x86_64 git xz zstd",
}


class Kind(StrEnum):
    """What an action does."""

    # Install packages.
    INSTALL = "install"
    # Start the engine.
    START = "start"
    # Let the user use the engine.
    ADMIT = "admit"
    # Build or pull the builder image.
    IMAGE = "image"


@dataclass(frozen=True)
class Action:
    """One thing to do."""

    kind: Kind
    # Described in a phrase.
    what: str
    # To run as root; shown before sudo is used.
    commands: tuple[tuple[str, ...], ...] = ()
    # To install.
    packages: tuple[str, ...] = ()


def missing(machine: Host, *, tests: bool = False) -> tuple[Need, ...]:
    """Return the needs whose program is not installed, in the order to list them.

    With ``tests``, include those of the project's own integration tests.
    """
    needs = [facts.QEMU, facts.GIT, facts.XZ, facts.ZSTD, *([facts.KEYS] if machine.has_apt else [])]
    if machine.engine.state in (State.NOT_INSTALLED, State.STOPPED):
        # Any engine that answers will do, whatever package it is from; an installed client is not enough.
        needs = [facts.ENGINE, facts.FIREWALL, *needs]
    if machine.image is None and machine.distro == "debian":
        needs += [facts.BOOTSTRAP, *([facts.USER_NAMESPACE] if machine.uid else [])]
    return tuple(n for n in (*needs, *(facts.TESTS if tests else ())) if machine.lacks(n))


def plan(machine: Host, *, tests: bool = False) -> tuple[Action, ...]:
    """Return what has to be done on this machine, in order; empty if nothing is missing.

    Raise UserError if kmodpipe cannot do it, because of an unknown package manager or an engine in
    DOCKER_HOST that does not answer. Raise InfraError if the engine hangs.
    """
    seen = machine.engine
    if seen.state is State.SILENT or (seen.state is not State.ANSWERS and not seen.is_default):
        error = docker_engine.unusable(seen)
        kind = InfraError if seen.is_default else UserError
        raise kind(error.what, where=error.where, hint=error.hint, detail=error.detail)
    actions = []
    lacking = missing(machine, tests=tests)
    if lacking:
        actions.append(_installation(machine, lacking))
    if seen.state in (State.NOT_INSTALLED, State.STOPPED):
        command = ("systemctl", "start", "docker") if machine.systemd else ("service", "docker", "start")
        actions.append(Action(Kind.START, "start Docker Engine", (command,)))
    # The socket of an engine that root starts belongs to root and the group docker.
    if seen.state is not State.ANSWERS and machine.uid:
        actions.append(_admission(machine, seen))
    if machine.image is None:
        actions.append(Action(Kind.IMAGE, "build the builder image"))
    return tuple(actions)


def _installation(machine: Host, lacking: Sequence[Need]) -> Action:
    packages = tuple(dict.fromkeys(n.package for n in lacking))
    if not machine.has_apt:
        families = [machine.distro, *sorted(machine.like)]
        command = next((_OTHER_PACKAGES[f] for f in families if f in _OTHER_PACKAGES), "")
        distro = machine.distro or "unknown"
        raise UserError(
            f"kmodpipe installs packages on Debian and Ubuntu only, and this is {distro}",
            detail="\n".join(f"missing: {n.program} ({n.purpose})" for n in lacking),
            hint=(
                f"{command}; then run: invoke setup" if command else "install these, then run: invoke setup"
            ),
        )
    update = machine.lists_age_s is None or machine.lists_age_s > _LISTS_FRESH_S
    commands = (
        *([("apt-get", *_APT_OPTIONS, "update")] if update else []),
        ("apt-get", *_APT_OPTIONS, "install", "-y", "--no-install-recommends", *packages),
    )
    return Action(Kind.INSTALL, f"install {' '.join(packages)}", commands, packages)


def _admission(machine: Host, seen: docker_engine.Look) -> Action:
    # The group membership takes effect at the next login. Until the engine's next start, owning the socket
    # gives the same right; root can use the socket in any case.
    join = () if machine.in_docker_group else (("usermod", "-aG", "docker", machine.user),)
    chown = ("chown", machine.user, seen.endpoint.removeprefix("unix://"))
    what = f"let {machine.user} use Docker Engine: " + (
        "its socket" if not join else "group docker, and its socket"
    )
    return Action(Kind.ADMIT, what, (*join, chown))


def perform(
    actions: Sequence[Action],
    machine: Host,
    *,
    ask: Ask | None,
    screen: Screen,
    images_dir: Path,
    cache: Path,
    names: builder_image.Names | None = None,
    daemon_args: Sequence[str] = (),
    share: Share | None = None,
) -> tuple[str, ...]:
    """Do ``actions`` in order; return what was done, a sentence for each.

    ``ask`` asks the user before sudo is used. It is None if there is no terminal: then raise UserError, with
    the commands, if sudo is needed. An error's detail lists what was done before it; a second run
    does the rest.
    """
    commands = [c for a in actions for c in a.commands]
    shell = RootShell()
    if commands:
        shell = obtain(machine.uid, "sudo" in machine.programs, commands, ask, why="setting this machine up")
    log = cache / "logs" / "setup.log"
    done: list[str] = []
    try:
        for action in actions:
            if action.kind is Kind.START:
                way = docker_engine.start(
                    screen, log=cache / "logs" / "dockerd.log", shell=shell, daemon_args=daemon_args
                )
                by = (
                    f"started Docker Engine by {way}; it keeps running"
                    if way
                    else "Docker Engine runs already"
                )
                done.append(by)
            elif action.kind is Kind.IMAGE:
                done.append(_make_image(images_dir, cache, screen, names, share))
            else:
                packages = len(action.packages)
                with screen.step(f"install {packages} packages" if packages else action.what) as step:
                    _as_root(action, shell, log, step)
                done.append(_past(action))
    except KmodpipeError as e:
        if done:
            e.detail = "\n".join([*([e.detail] if e.detail else []), *(f"done before: {d}" for d in done)])
        raise
    return tuple(done)


def _make_image(
    images_dir: Path, cache: Path, screen: Screen, names: builder_image.Names | None, share: Share | None
) -> str:
    client = docker_engine.connect()
    name = builder_image.tag(images_dir, names)
    # It was not known when the plan was made, if no engine answered then.
    if builder_image.find(client, images_dir, names=names):
        return f"builder image {name} was there already"
    if share and shared_image.pull(client, images_dir, share, Store(cache), screen):
        return f"pulled the builder image {name} from {share.place}"
    builder_image.ensure(client, images_dir, cache, screen, names=names)
    return f"built the builder image {name}"


def _past(action: Action) -> str:
    """Describe an action that was done."""
    if action.kind is Kind.INSTALL:
        return f"installed {' '.join(action.packages)}"
    return action.what


def _as_root(action: Action, shell: RootShell, log: Path, step: Step) -> None:
    for command in action.commands:
        step.update(process.pasteable(command))
        update = "update" in command
        try:
            shell.run(
                command,
                timeout_s=_UPDATE_TIMEOUT_S if update else _INSTALL_TIMEOUT_S,
                log=log,
                env=_APT_ENV if command[0] == "apt-get" else None,
                on_line=step.update,
                hint=f"read {log}; then run: invoke setup",
            )
        except InfraError as e:
            if not update:
                raise
            # A third-party source that is gone makes the whole update fail, but may not be needed.
            step.update(f"apt-get update: {e.what}; going on with the existing lists")


def run(
    images_dir: Path,
    cache: Path,
    screen: Screen,
    ask: Ask | None,
    *,
    tests: bool = False,
    share: Share | None = None,
) -> tuple[str, ...]:
    """Set this machine up, and print what is to do and what was done.

    Return what was done; empty if nothing was missing.
    """
    machine = facts.gather(images_dir)
    actions = plan(machine, tests=tests)
    if not actions:
        screen.say(
            f"nothing to do: Docker Engine {machine.engine.version}, QEMU, git and the builder image are here"
        )
        return ()
    for action in actions:
        screen.say(f"to do: {action.what}")
    done = perform(actions, machine, ask=ask, screen=screen, images_dir=images_dir, cache=cache, share=share)
    for line in done:
        screen.say(f"done: {line}")
    return done
