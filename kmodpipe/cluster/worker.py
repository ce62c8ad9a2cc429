"""What runs on a worker: functions that Dask calls with text and bytes, and that return bytes.

A job is a process of its own, of the same `kmodpipe`: what it starts ends with it, also if the worker is
killed. It is ended in order when Dask does not want its task any more: its client has cancelled it.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from distributed import Reschedule, WorkerPlugin
from pydantic import TypeAdapter

from kmodpipe import results
from kmodpipe.cache import users
from kmodpipe.cache.place import cache_folder
from kmodpipe.cache.share.folder import SCHEME
from kmodpipe.cache.store import Store
from kmodpipe.ci import job_plan
from kmodpipe.cluster import bundle, facts, graph, parcel
from kmodpipe.cluster.facts import Facts, Wanted
from kmodpipe.cluster.graph import PLAN
from kmodpipe.cluster.parcel import Note
from kmodpipe.results import ENDED_EARLY
from kmodpipe.util import process
from kmodpipe.util.errors import ExitCode, InfraError, KmodpipeError
from kmodpipe.util.process import Children

if TYPE_CHECKING:
    from distributed import Worker

ARTIFACTS, WITH_IMAGE = "artifacts", "image"
JOBS = "kmodpipe-jobs"
"""The topic of the scheduler's events with the jobs that begin and end: see `told`."""
_TAIL_BYTES = 8192
_LOOK_S = 0.1
# What a job gets to end its containers and guests, and to write down how far it came.
_GRACE_S = 20.0
# The variables of a worker that its jobs have as well.
_PASSED = ("KMODPIPE_", "DOCKER_", "PYTHON", "XDG_CACHE_HOME", "VIRTUAL_ENV")

# By the worker's address and what was asked: several clients may differ.
_known: dict[tuple[str, str], Facts] = {}
# The tasks whose jobs run on this worker.
_running: set[str] = set()


@dataclass(frozen=True)
class Job:
    """A job as it travels."""

    run: str
    words: tuple[str, ...]
    bundle: str
    # Whether guests are booted one by one: then it takes one processor, else all of the worker's.
    single: bool
    # Of a base: what of it travels through Dask, where there is no registry: nothing, its artifacts, or the
    # builder image as well.
    carry: str = ""

    def to_json(self) -> str:
        """Return the job as JSON."""
        return json.dumps(asdict(self))


class Plugin(WorkerPlugin):  # type: ignore[misc]
    """Finds out what a worker is when it begins or joins, and declares what it offers as Dask's resources.

    It is registered with the scheduler, which hands it to each worker that joins later.
    """

    def __init__(self, wanted: str) -> None:
        self.wanted = wanted
        self.name = f"kmodpipe-{json.loads(wanted)['program'][:16]}"

    async def setup(self, worker: Worker) -> None:
        """Called by Dask on the worker."""
        from distributed import Status

        found = await _facts(worker, self.wanted)
        if found.trouble:
            return
        await worker.set_resources(**found.resources)
        # Tasks that found no worker are looked at again only when a worker's status changes.
        worker.status = Status.paused
        worker.status = Status.running


async def _facts(worker: Worker, wanted: str) -> Facts:
    """Return the facts about a worker; they are looked for once."""
    key = (str(worker.address), wanted)
    if key not in _known:
        _known[key] = await asyncio.to_thread(_look, worker, wanted)
    return _known[key]


def _look(worker: Worker, wanted: str) -> Facts:
    asked = TypeAdapter(Wanted).validate_python(json.loads(wanted))
    with suppress(KmodpipeError):
        parcel.sweep(cache_folder())
    return facts.look(str(worker.name), worker.state.nthreads, asked)


async def tell(wanted: str, dask_worker: Worker) -> bytes:
    """Return the facts about a worker; called on each of them by the client."""
    return (await _facts(dask_worker, wanted)).to_json()


def project(data: bytes) -> bytes:
    """Return the bundle: the task that all others wait for, so that Dask brings it where it is needed."""
    return data


def file(digest: str) -> bytes:
    """Return a shared file of a job that ran here, empty if it is not here any more."""
    return parcel.blob(cache_folder(), digest)


def note(base: bytes) -> bytes:
    """Return the parcel of a base without what travels to its cells: what the client is interested in."""
    cache = cache_folder()
    with Store(cache).scratch("note-") as scratch:
        return parcel.without_share(base, scratch)


def busy(keys: str) -> bytes:
    """Return how many jobs of these tasks (JSON) this worker has, as a number in text."""
    return str(len(_running.intersection(json.loads(keys)))).encode()


@contextmanager
def told(worker: Worker, key: str) -> Iterator[None]:
    """Tell the scheduler that a task's job runs, and at the end of the block that it does not any more.

    What began and did not end was running when its worker died. Dask's own count of deaths is of all tasks
    that a worker had, those that waited for it as well.
    """
    worker.log_event(JOBS, [key, 1])
    try:
        yield
    finally:
        worker.log_event(JOBS, [key, -1])


def run_job(job: str, data: bytes, *after: bytes) -> bytes:
    """Run a job, and return its parcel. ``after`` is what it waited for.

    Whatever goes wrong is in the parcel: an exception would look to Dask like a fault of the task.
    """
    from distributed import get_worker

    asked = TypeAdapter(Job).validate_python(json.loads(job))
    worker = get_worker()
    key = str(worker.get_current_task())
    name, threads = str(worker.name), worker.state.nthreads
    began = time.monotonic()
    note = Note(int(ExitCode.INFRA), "", name, socket.gethostname(), 0.0, round(time.time(), 3))
    cache = cache_folder()
    with (
        told(worker, key),
        users.using(cache, lambda _: None),
        Store(cache).scratch("job-") as scratch,
    ):
        try:
            home = bundle.place(data, asked.bundle, cache)
            carried = parcel.place_share(after, cache, scratch)
            jobs = 1 if asked.single else threads
            _running.add(key)
            note, run = _run(asked, home, scratch, jobs, note, carried, lambda: _is_wanted(worker, key))
        except KmodpipeError as e:
            note, run = Note(**{**asdict(note), "tail": str(e), "trouble": e.sentence}), None
        finally:
            _running.discard(key)
        if _interrupted(run) and _is_wanted(worker, key):
            # Its machine is taken down: what is left of it is no result. Another worker begins anew.
            raise Reschedule
        seconds = round(time.monotonic() - began, 3)
        return parcel.wrap(Note(**{**asdict(note), "seconds": seconds}), run, scratch, cache)


def _run(
    asked: Job,
    home: Path,
    scratch: Path,
    jobs: int,
    note: Note,
    carried: Path | None,
    is_wanted: Callable[[], bool],
) -> tuple[Note, Path | None]:
    """Run the job's process in the bundled project; return its note and its run folder.

    ``carried`` is a folder with what was built elsewhere and came through Dask.
    """
    out, log = scratch / "out", scratch / "shown.log"
    env = {name: value for name, value in os.environ.items() if name.startswith(_PASSED)}
    words = [word if word != PLAN else str(scratch / word) for word in asked.words]
    if asked.carry:
        words = _sharing(words, scratch / parcel.SHARE)
        env |= {} if asked.carry == WITH_IMAGE else {"KMODPIPE_SHARE_IMAGE": "0"}
    elif carried:
        words = _sharing(words, carried)
        env["KMODPIPE_SHARE_READONLY"] = "1"
    argv = [sys.executable, "-m", "kmodpipe", *words, "--out", str(out), "--jobs", str(jobs)]
    wanted = True
    with Children().collecting(), log.open("wb") as shown:
        child = process.spawn(argv, stdout=shown.fileno(), stderr=shown.fileno(), cwd=home, env=env)
        with _ending(child):
            while child.poll() is None and (wanted := is_wanted()):
                time.sleep(_LOOK_S)
    tail = _tail(log)
    if child.returncode < 0 and wanted:
        # The kernel's OOM killer, or an administrator. Not the cell's fault, and not a worker that died.
        raise InfraError(
            f"the job {process.describe_status(child.returncode)}",
            detail=tail,
            hint="look at the worker's memory and its kernel log",
        )
    runs = [path for path in out.glob("2*") if path.is_dir()]
    code = child.returncode if child.returncode >= 0 else int(ExitCode.INFRA)
    found = {**asdict(note), "exit_code": code, "tail": tail, "skips": _skips(scratch / PLAN)}
    return Note(**found), runs[0] if runs else None


def _interrupted(run: Path | None) -> bool:
    """Return whether a signal ended a job's run."""
    if run is None or not (run / "results.json").is_file():
        return False
    return results.load(run / "results.json").properties.get(ENDED_EARLY, "").startswith("interrupted")


def _sharing(words: Sequence[str], folder: Path) -> list[str]:
    """Return a command line that shares through a folder instead of through nothing."""
    return [*graph.without(words, ("--share",)), "--share", f"{SCHEME}{folder}"]


def _skips(plan: Path) -> dict[str, str]:
    """Return the cells that the plan of a base's job rules out, each with the reason."""
    if not plan.is_file():
        return {}
    return {cell.cell: cell.skip for cell in job_plan.load(plan).cells if cell.skip}


def _is_wanted(worker: Worker, key: str) -> bool:
    """Return whether Dask still wants a task that runs here: no client may, or one has cancelled it."""
    known = worker.state.tasks.get(key)
    return known is not None and known.state != "cancelled"


@contextmanager
def _ending(child: subprocess.Popen[bytes]) -> Iterator[None]:
    """End a job in order if it still runs at the end of the block: it removes its containers and guests."""
    try:
        yield
    finally:
        if child.poll() is None:
            child.send_signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                child.wait(_GRACE_S)
        process.end(child)


def _tail(log: Path) -> str:
    with log.open("rb") as f:
        f.seek(max(log.stat().st_size - _TAIL_BYTES, 0))
        return f.read().decode("utf-8", "replace")
