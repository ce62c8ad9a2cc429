"""Let the engine build an image, and follow what it says while it builds or pulls one."""

from __future__ import annotations

import io
import os
import queue
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kmodpipe.build.runtime import docker_errors
from kmodpipe.util import process
from kmodpipe.util.errors import InfraError, Interrupted
from kmodpipe.util.lines import Tail
from kmodpipe.util.text import visible
from kmodpipe.util.workers import Thread

if TYPE_CHECKING:
    from docker import DockerClient

    from kmodpipe.util.screen import Step

LOOK_AT_IT = "read the log, and what the engine logged (journalctl -u docker); then run: invoke setup"
# The longest that the engine may send no event while it pulls or builds.
_SILENCE_S = 180
_PROXIES = ("http_proxy", "https_proxy", "no_proxy")
_STEP = re.compile(r"^Step (\d+)/(\d+) : (.*)")


def build_image(
    client: DockerClient,
    recipe: bytes,
    name: str,
    base: str,
    labels: Mapping[str, str],
    step: Step,
    log: Path,
) -> None:
    """Build an image of a Dockerfile, on a ``base`` that the engine has, with all output in ``log``.

    Raises InfraError with the end of the output, and Interrupted.
    """

    def show(event: Mapping[str, Any]) -> None:
        text = str(event.get("stream", "")).strip()
        at = _STEP.match(text)
        if at:
            step.update(at[3], done=int(at[1]) - 1, total=int(at[2]))
        elif text:
            step.update(text.splitlines()[-1])

    with wrapped("building the builder image", f"log: {log}"):
        events = client.api.build(
            # The Dockerfile without a context: a file that is not in the digest cannot get into the image.
            fileobj=io.BytesIO(recipe),
            tag=name,
            buildargs={"BASE": base, **_proxies()},
            labels=dict(labels),
            # The host's network and not the bridge: behind a resolver or a proxy on loopback, a firewall or
            # an engine without a bridge, a container on the bridge cannot reach the package mirror. This
            # runs only our own Dockerfile, which installs signed packages; kernels are built offline.
            network_mode="host",
            rm=True,
            forcerm=True,
            decode=True,
        )
        follow(events, log, show)


def _proxies() -> dict[str, str]:
    """Return the environment's proxies in lower and upper case.

    They are predefined build arguments of Docker, which keeps them out of the image and its history.
    """
    found: dict[str, str] = {}
    for name in _PROXIES:
        value = os.environ.get(name) or os.environ.get(name.upper())
        if value:
            found |= {name: value, name.upper(): value}
    return found


def follow(events: Iterator[Any], log: Path, show: Callable[[Mapping[str, Any]], None]) -> None:
    """Write the events of a build or a pull to ``log``, and pass them to ``show``.

    Raises InfraError on an error event and after a long silence, Interrupted after `Children.stop_all`.
    """
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
    """Yield ``events``, which a thread reads, so that this one can notice a silence or an interruption."""
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
                    f"the engine sent nothing for {_SILENCE_S} s while an image was made",
                    where=f"log: {log}",
                    hint=LOOK_AT_IT,
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


def wrapped(doing: str, where: str = "") -> AbstractContextManager[None]:
    """Turn what the engine raises into InfraError; ``doing`` is what it was asked to do."""
    return docker_errors.wrapped(
        f"Docker failed while {doing}", where=where, hint="check its state with: invoke doctor"
    )
