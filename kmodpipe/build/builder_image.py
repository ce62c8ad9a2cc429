"""The builder image: found by the digest of its recipe, made when it is not there.

    kmodpipe-builder:<digest12>     images/builder/Dockerfile on top of a base:
    debian:bookworm-slim            the base where a registry answers (or it is already loaded)
    kmodpipe-base:bookworm          the base where none does, bootstrapped from this machine's apt sources

The digest covers the Dockerfile and this recipe's version, not the base: which of the two it stands on
is a label, and keys of what is built in it take the image id. Older builder images stay until
`builders.remove_old`: another clone of the project may use them.
"""

from __future__ import annotations

import io
import os
import queue
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kmodpipe.build.runtime import docker_errors
from kmodpipe.cache.store import Store
from kmodpipe.source import apt
from kmodpipe.util import process
from kmodpipe.util.digest import digest_of
from kmodpipe.util.errors import InfraError, Interrupted
from kmodpipe.util.files import require_space
from kmodpipe.util.lines import Tail
from kmodpipe.util.lock import lock
from kmodpipe.util.text import visible
from kmodpipe.util.workers import Thread

if TYPE_CHECKING:
    from docker import DockerClient

    from kmodpipe.util.screen import Screen, Step

RECIPE = 1
"""Raise it when an image made by the code below must differ from one made before."""

SUITE = "bookworm"
REGISTRY_BASE = f"debian:{SUITE}-slim"
LABEL = "org.kmodpipe.image"
BASE_LABEL = "org.kmodpipe.base"
_NEED_MIB = 2048
_REGISTRY_TIMEOUT_S = 8
_SILENCE_S = 180
_PROXIES = ("http_proxy", "https_proxy", "no_proxy")
_STEP = re.compile(r"^Step (\d+)/(\d+) : (.*)")


@dataclass(frozen=True)
class Names:
    """What the images are called; experiments and tests take names of their own."""

    builder: str = "kmodpipe-builder"
    base: str = "kmodpipe-base"


def dockerfile(images_dir: Path) -> bytes:
    """The builder's Dockerfile. Raises InfraError where it is missing: the checkout is damaged."""
    path = images_dir / "builder" / "Dockerfile"
    try:
        return path.read_bytes()
    except OSError as e:
        raise InfraError("the builder's Dockerfile cannot be read", where=str(path), hint=str(e)) from e


def tag(images_dir: Path, names: Names | None = None) -> str:
    """The builder image's name for this checkout, ``kmodpipe-builder:<digest12>``."""
    text = dockerfile(images_dir).decode("utf-8", "replace")
    digest = digest_of({"dockerfile": text, "recipe": RECIPE, "suite": SUITE})
    return f"{(names or Names()).builder}:{digest[:12]}"


def find(client: DockerClient, images_dir: Path, *, names: Names | None = None) -> str | None:
    """The id (``sha256:…``) of this checkout's builder image, or None. Milliseconds; no network."""
    return _image_id(client, tag(images_dir, names))


def ensure(
    client: DockerClient,
    images_dir: Path,
    cache: Path,
    screen: Screen,
    *,
    names: Names | None = None,
    registry_base: str = REGISTRY_BASE,
) -> str:
    """The id of the builder image, which is made first where it is not there (about a minute).

    Raises InfraError with the last lines and the log's path. Two processes make it once.
    """
    names = names or Names()
    found = find(client, images_dir, names=names)
    if found:
        return found
    log = cache / "logs" / "builder-image.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with lock(cache / "locks" / "builder-image", waiting=screen.say):
        found = find(client, images_dir, names=names)
        if found:
            return found
        require_space(cache, _NEED_MIB, "the builder image")
        log.write_bytes(b"")
        base, kind = _base(client, cache, screen, log, names, registry_base)
        with screen.step("build the builder image") as step:
            _build(client, images_dir, base, kind, step, log, names)
        image_id = find(client, images_dir, names=names)
    if image_id is None:
        raise InfraError("the engine built the builder image and does not have it", where=str(log))
    return image_id


def _image_id(client: DockerClient, name: str) -> str | None:
    from docker.errors import ImageNotFound

    with _wrapped(f"it was asked for {name}"), suppress(ImageNotFound):
        return str(client.images.get(name).id)
    return None


def _wrapped(doing: str, where: str = "") -> AbstractContextManager[None]:
    return docker_errors.wrapped(
        f"Docker failed while {doing}", where=where, hint="invoke doctor tells how it is"
    )


# -- the base --------------------------------------------------------------------------------------
def _base(
    client: DockerClient, cache: Path, screen: Screen, log: Path, names: Names, registry_base: str
) -> tuple[str, str]:
    """A base image's name and where it comes from (``registry`` or ``bootstrap``)."""
    own = f"{names.base}:{SUITE}"
    # What is here needs no network, and a rebuild on the same base gives the same tools.
    if _image_id(client, registry_base):
        return registry_base, "registry"
    if _image_id(client, own):
        return own, "bootstrap"
    refusal = _pull(client, registry_base, screen, log)
    if not refusal:
        return registry_base, "registry"
    screen.say(
        f"no registry gives {registry_base} ({refusal}): bootstrapping a base from this machine's apt sources"
    )
    _bootstrap(client, cache, screen, log, own, refusal)
    return own, "bootstrap"


def _pull(client: DockerClient, name: str, screen: Screen, log: Path) -> str:
    """Pull an image; '' when it is here, else why not. A registry that cannot be reached costs seconds."""
    from requests.exceptions import Timeout

    repository, _, version = name.partition(":")
    with screen.step(f"pull {name}") as step:
        # A pull has no time limit of its own, neither here nor in the engine, where an address without
        # an answer costs minutes; the question for the digest takes the same way and can be bounded.
        was, client.api.timeout = client.api.timeout, _REGISTRY_TIMEOUT_S
        try:
            client.images.get_registry_data(name)
        except Timeout:
            refusal = f"no answer within {_REGISTRY_TIMEOUT_S} s"
        except docker_errors.sdk_errors() as e:
            refusal = _reason(e)
        else:
            refusal = ""
        finally:
            client.api.timeout = was
        if not refusal:
            try:
                events = client.api.pull(repository, tag=version, stream=True, decode=True)
                _follow(events, log, lambda e: step.update(f"{e.get('status', '')} {e.get('id', '')}"))
            except docker_errors.sdk_errors(InfraError) as e:
                refusal = _reason(e)
        step.finish("not available" if refusal else "done")
    return refusal


def _reason(error: Exception) -> str:
    text = str(getattr(error, "explanation", "") or error).strip() or type(error).__name__
    return visible(text.splitlines()[0].rsplit(": ", 1)[-1][:120])


def _bootstrap(client: DockerClient, cache: Path, screen: Screen, log: Path, name: str, refusal: str) -> None:
    repository, _, version = name.partition(":")
    with screen.step(f"bootstrap {name}") as step:
        try:
            with (
                _wrapped("the base image was imported", str(log)),
                Store(cache).scratch("base-") as folder,
            ):
                # To a file first: half a stream must not become an image.
                apt.bootstrap(SUITE, folder / "base.tar", log=log)
                step.update("importing")
                client.api.import_image_from_file(
                    str(folder / "base.tar"),
                    repository=repository,
                    tag=version,
                    changes=[f"LABEL {LABEL}=base"],
                )
        except InfraError as e:
            e.what = f"no base image: no registry gives one ({refusal}), and {e.what}"
            raise
    if _image_id(client, name) is None:
        raise InfraError("the engine imported the base image and does not have it", where=str(log))


# -- the image -------------------------------------------------------------------------------------
def _build(
    client: DockerClient, images_dir: Path, base: str, kind: str, step: Step, log: Path, names: Names
) -> None:
    def show(event: Mapping[str, Any]) -> None:
        text = str(event.get("stream", "")).strip()
        at = _STEP.match(text)
        if at:
            step.update(at[3], done=int(at[1]) - 1, total=int(at[2]))
        elif text:
            step.update(text.splitlines()[-1])

    with _wrapped("the builder image was built", f"log: {log}"):
        events = client.api.build(
            # The Dockerfile alone, no folder: what is not in the digest cannot get into the image.
            fileobj=io.BytesIO(dockerfile(images_dir)),
            tag=tag(images_dir, names),
            buildargs={"BASE": base, **_proxies()},
            labels={LABEL: "builder", BASE_LABEL: kind},
            # The machine's own network and not the bridge's: a resolver or a proxy on loopback, a firewall
            # or an engine without a bridge would each take the package mirror away from a container. Only
            # our own Dockerfile runs so, and it takes signed packages; kernels are built without network.
            network_mode="host",
            rm=True,
            forcerm=True,
            decode=True,
        )
        _follow(events, log, show)


def _proxies() -> dict[str, str]:
    """The environment's proxies in both spellings: Docker's predefined build arguments, kept out of the
    image and of its history."""
    found: dict[str, str] = {}
    for name in _PROXIES:
        value = os.environ.get(name) or os.environ.get(name.upper())
        if value:
            found |= {name: value, name.upper(): value}
    return found


def _follow(events: Iterator[Any], log: Path, show: Callable[[Mapping[str, Any]], None]) -> None:
    """Write a build's or pull's events to ``log`` and show them. Raises InfraError for an error event, a
    stream that says nothing for long, and Interrupted after `Children.stop_all`."""
    tail = Tail(20)
    with log.open("a", encoding="utf-8") as f:
        for event in _bounded(events, log):
            text = str(event.get("stream") or event.get("error") or "")
            if not text and "status" in event and "progress" not in event:
                text = f"{event.get('id', '')} {event['status']}".strip() + "\n"
            f.write(text)
            f.flush()
            tail.add(*text.splitlines())
            if "error" in event:
                raise InfraError(
                    f"the builder image could not be made: {visible(str(event['error']).strip())}",
                    where=f"log: {log}",
                    detail=tail.text,
                    hint=_advice(tail.text),
                )
            show(event)


def _bounded(events: Iterator[Any], log: Path) -> Iterator[Mapping[str, Any]]:
    """``events``, read in a thread of its own so that silence and an interruption are noticed."""
    arrived: queue.Queue[object] = queue.Queue()

    def read() -> None:
        try:
            for event in events:
                arrived.put(event)
            arrived.put(None)
        except Exception as e:
            arrived.put(e)

    Thread(read, "docker-events").start()
    heard = time.monotonic()
    while True:
        try:
            event = arrived.get(timeout=0.25)
        except queue.Empty:
            if process.stopping():
                raise Interrupted("interrupted while an image was made", where=f"log: {log}") from None
            if time.monotonic() - heard > _SILENCE_S:
                raise InfraError(
                    f"the engine said nothing for {_SILENCE_S} s while an image was made", where=f"log: {log}"
                ) from None
            continue
        heard = time.monotonic()
        if event is None:
            return
        if isinstance(event, Exception):
            raise event
        if isinstance(event, dict):
            yield event


def _advice(text: str) -> str:
    if re.search(
        r"Temporary failure resolving|Could not resolve|Unable to connect|Connection (timed|refused)", text
    ):
        return "the package mirror cannot be reached: check the network, and http_proxy if one is needed"
    if "No space left" in text:
        return "free some space where Docker keeps its images (/var/lib/docker)"
    return "read the log; then run: invoke setup"
