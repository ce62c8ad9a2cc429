"""Have every worker prove what it is before it gets work, and those that join later."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

from kmodpipe.cluster import facts, graph, worker
from kmodpipe.cluster.facts import Facts, Wanted
from kmodpipe.cluster.record import Record
from kmodpipe.util.errors import InfraError
from kmodpipe.util.screen import Screen
from kmodpipe.util.text import count

if TYPE_CHECKING:
    from distributed import Client

_LOOK_S = 0.25
# How long workers are looked at again if none of them can do the work.
_SETTLE_S = 3.0


@dataclass(frozen=True)
class Greeted:
    """What is known of the workers when a run begins."""

    # By address; those that can do the work.
    workers: Mapping[str, Facts]
    # What is asked of those that join later.
    wanted: Wanted
    # What of a base travels through Dask: nothing, its artifacts, or the builder image as well.
    carry: str

    @property
    def slots(self) -> int:
        """How many guests they have at once."""
        return sum(one.threads for one in self.workers.values())

    @property
    def offers(self) -> list[Mapping[str, float]]:
        """The resources of each."""
        return [one.resources for one in self.workers.values()]


def greet(client: Client, record: Record, wanted: Wanted, patience_s: float, screen: Screen) -> Greeted:
    """Return the workers that can do a run's work.

    They are waited for until there is one for each task, ``patience_s`` seconds at most. Raise InfraError if
    there is none then, with the reason of each.
    """
    needs = [dict(row) for row in {tuple(sorted(task.needs.items())) for task in record.tasks}]
    began = time.monotonic()
    seen: dict[str, Facts] = {}
    able: dict[str, Facts] = {}
    with screen.step("look at the workers") as step:
        while True:
            seen = _ask(client, wanted)
            able = {address: one for address, one in seen.items() if not one.trouble}
            waited_s = time.monotonic() - began
            offers = [one.resources for one in able.values()]
            unfit = seen and not able and waited_s > _SETTLE_S
            if waited_s > patience_s or unfit or (able and not any(graph.unmet(n, offers) for n in needs)):
                break
            step.update(f"{len(able)} of {len(seen)} so far")
            time.sleep(_LOOK_S)
        step.finish(f"{len(able)} of {count(len(seen), 'worker')} can do the work")
    for one in seen.values():
        if one.trouble:
            screen.warn(f"worker {one.name} gets no work: {one.trouble}")
    if not able:
        raise _none(seen.values(), patience_s)
    carry, wanted = _carry(wanted, able.values()) if record.carries else ("", wanted)
    register(client, wanted)
    return Greeted(able, wanted, carry)


def register(client: Client, wanted: Wanted) -> None:
    """Have workers declare what they offer, now and when they join."""
    client.register_plugin(worker.Plugin(json.dumps(asdict(wanted))))


def _ask(client: Client, wanted: Wanted) -> dict[str, Facts]:
    answers = client.run(worker.tell, json.dumps(asdict(wanted)), on_error="return")
    return {address: facts.parse(answer, address) for address, answer in sorted(answers.items())}


def _carry(wanted: Wanted, able: Iterable[Facts]) -> tuple[str, Wanted]:
    """Return what has to travel, and what workers have to be: of the builder image that all have."""
    images = {one.image for one in able}
    if wanted.runtime == "host":
        return worker.ARTIFACTS, wanted
    if len(images) == 1 and "" not in images:
        return worker.ARTIFACTS, replace(wanted, image_id=images.pop())
    return worker.WITH_IMAGE, wanted


def _none(seen: Iterable[Facts], patience_s: float) -> InfraError:
    found = list(seen)
    if not found:
        return InfraError(
            f"the scheduler has no worker after {patience_s:g} s",
            hint="start one: dask worker ADDRESS, in an environment with the same kmodpipe",
        )
    return InfraError(
        f"none of {count(len(found), 'worker')} can do the work",
        detail="\n".join(f"{one.name}: {one.trouble}" for one in found[:20]),
        hint="install the same version of kmodpipe on all, and run invoke doctor there",
    )
