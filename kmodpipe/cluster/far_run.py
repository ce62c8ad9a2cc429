"""Hand a run's tasks to a scheduler, take what comes back, and go on when the scheduler or a worker is lost.

The tasks stay with the scheduler when the client goes: they are published under the run's name. What came
back is released at once, so that a worker which dies later costs only what it was doing.
"""

from __future__ import annotations

import json
import queue
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol

from kmodpipe.cluster import graph, greeting, worker
from kmodpipe.cluster.bundle import Bundle
from kmodpipe.cluster.crew import Crew
from kmodpipe.cluster.graph import Task
from kmodpipe.cluster.greeting import Greeted
from kmodpipe.cluster.parcel import Note
from kmodpipe.cluster.record import Record
from kmodpipe.util.errors import InfraError
from kmodpipe.util.screen import Screen
from kmodpipe.util.text import count, one_line
from kmodpipe.util.workers import Thread

if TYPE_CHECKING:
    from distributed import Client, Future

_LOOK_S = 0.25
_WORKERS_S = 3.0
_STOP_S = 15.0
# How long a scheduler that is gone is waited for.
_BACK_S = 60.0
# How often the tasks of a run are handed over again, after a scheduler was lost or someone cancelled them.
_RENEWALS = 3
# How often a task is handed over again that only waited for workers which died.
_WAITS = 20
_RESULT_S = 60


class Sink(Protocol):
    """Where results go."""

    slots: int
    """How many guests the workers have at once."""

    @property
    def open_cells(self) -> Collection[str]:
        """The cells without a result."""

    def take(self, cell: str, data: object, fetch: Callable[[str, str], bytes]) -> str:
        """Take a parcel of a cell; return a line for the screen."""

    def failed(self, cell: str, reason: str) -> str:
        """Record that a cell has no result; return a line for the screen."""

    def skipped(self, cell: str, reason: str) -> str:
        """Record that the tree rules a cell out; return a line for the screen."""

    def note_logs(self, data: object, subject: str) -> Note:
        """Keep the logs of the base of these cells."""


class FarRun:
    """The tasks of one run, seen from the client."""

    def __init__(
        self,
        record: Record,
        client: Client,
        greeted: Greeted,
        reconnect: Callable[[], Client],
        sink: Sink,
        screen: Screen,
        *,
        job: Callable[..., bytes] = worker.run_job,
    ) -> None:
        """``reconnect`` returns another client of the same scheduler; it raises InfraError.

        ``job`` is what runs a task on a worker.
        """
        self._job = job
        self._greeted = greeted
        self._record = record
        self._client = client
        self._crew = Crew(client, record.resource, greeted, screen)
        self._reconnect = reconnect
        self._sink = sink
        self._screen = screen
        self._tasks = {task.key: task for task in record.tasks}
        self._keys = {task.cell: task.key for task in record.tasks if task.kind == "cell"}
        self._bundle: Bundle | None = None
        self._events: queue.SimpleQueue[tuple[str, Future[Any]]] = queue.SimpleQueue()
        self._futures: dict[str, Future[Any]] = {}
        self._bases: dict[str, Future[Any]] = {}
        self._renewed: dict[str, int] = {}
        self._waited: dict[str, int] = {}
        self._remade: dict[str, Future[Any]] = {}

    @property
    def client(self) -> Client:
        """The client, which may have been replaced since."""
        return self._client

    # -- tasks -----------------------------------------------------------------------------------
    def begin(self, bundle: Bundle) -> None:
        """Hand over the tasks of all cells that have no result. Cells that no worker can run get an error."""
        self._bundle = bundle
        offers = self._greeted.offers
        possible = []
        without: dict[str, list[str]] = {}
        for task in self._open_tasks():
            if lacking := graph.unmet(task.needs, offers):
                without.setdefault(lacking, []).extend(self._left(task))
            else:
                possible.append(task)
        if not possible and without:
            raise InfraError(
                f"no worker has what the cells need: {next(iter(without))}",
                hint="dask worker ADDRESS --resources, for what a project requires; else a larger machine",
            )
        for lacking, cells in without.items():
            self._screen.warn(f"{count(len(set(cells)), 'cell')} without a worker: none has {lacking}")
            for cell in dict.fromkeys(cells):
                self._sink.failed(cell, f"no worker has what it needs: {lacking}")
        self._submit(possible)

    def _left(self, task: Task) -> list[str]:
        still = self._sink.open_cells
        return [cell for cell in task.cells if cell in still]

    def _open_tasks(self) -> list[Task]:
        """Return the tasks that have a cell without a result."""
        still = set(self._sink.open_cells)
        return [task for task in self._record.tasks if still.intersection(task.cells)]

    def _submit(self, tasks: Sequence[Task]) -> None:
        if not tasks or self._bundle is None:
            return
        always = {self._record.resource: 1.0}
        data = self._client.submit(
            worker.project, self._bundle.data, key=f"kmodpipe-project-{self._bundle.digest[:32]}",
            resources=always, priority=max(task.priority for task in tasks) + 1,
        )  # fmt: skip
        made = [data]
        for task in tasks:
            after = [self._bases[key] for key in task.after if key in self._bases]
            single = task.kind == "cell"
            # Of a base the job is the same in every run: so is its key.
            run = self._record.run if single else ""
            carry = "" if single else self._greeted.carry
            job = worker.Job(run, task.words, self._bundle.digest, single, carry)
            key = f"{task.key}-{carry}" if carry else task.key
            future = self._client.submit(
                self._job, job.to_json(), data, *after, key=key,
                resources=dict(task.needs), priority=task.priority,
            )  # fmt: skip
            made.append(future)
            if single:
                self._follow(task.key, future)
            else:
                self._bases[task.key] = future
                note = self._client.submit(
                    worker.note, future, key=f"{key}-note", resources=always, priority=2 * task.priority
                )
                self._follow(task.key, note)
                made.append(note)
        # It keeps them when this client is gone.
        self._client.publish_dataset(made, name=self._dataset, override=True)

    def resume(self, bundle: Bundle) -> None:
        """Follow the tasks that an earlier command handed over.

        They are handed over again under the same keys: what the scheduler has of them, it does not do twice.
        """
        self._bundle = bundle
        if self._dataset not in self._client.list_datasets():
            self._screen.warn("the scheduler does not know this run any more: its open cells begin again")
        self._submit(self._open_tasks())

    @property
    def _dataset(self) -> str:
        return f"kmodpipe-{self._record.run}"

    def _follow(self, key: str, future: Future[Any]) -> None:
        self._futures[key] = future
        future.add_done_callback(lambda done: self._events.put((key, done)))

    # -- what comes back -------------------------------------------------------------------------
    def watch(self, describe: Callable[[], str]) -> None:
        """Take results until every cell has one; ``describe`` says how far the run is.

        Raise InfraError if the scheduler is lost for good.
        """
        looked = time.monotonic()
        with self._screen.step(f"run on {self._record.address or self._record.on}") as step:
            while self._sink.open_cells:
                self._follow_remade()
                try:
                    key, future = self._events.get(timeout=_LOOK_S)
                except queue.Empty:
                    if time.monotonic() - looked > _WORKERS_S:
                        looked = time.monotonic()
                        if (slots := self._crew.look()) is not None:
                            self._sink.slots = slots
                            left = count(len(self._sink.open_cells), "cell")
                            step.update(f"{count(self._crew.number, 'worker')}, {left} to go")
                    continue
                if self._futures.get(key) is future:
                    self._settle(self._tasks[key], future)
                    step.update(describe())
            step.finish(describe())

    def _follow_remade(self) -> None:
        """Wait again for results that are made anew, once that is under way: before, Dask does not wait."""
        for key, future in list(self._remade.items()):
            if future.status != "lost":
                del self._remade[key]
                if self._futures.get(key) is future:
                    self._follow(key, future)

    def _settle(self, task: Task, future: Future[Any]) -> None:
        """Take one task that has ended."""
        if future.status == "finished":
            try:
                data = future.result(timeout=_RESULT_S)
            except Exception as e:
                self._not_read(task, future, e)
                return
            self._take(task, data)
            # Released for the published run too: it is not done again if its worker dies.
            self._client.cancel([future], force=task.kind == "cell")
        elif future.status == "error":
            self._failed(task, future)
        elif future.status in ("pending", "lost") and self._client.status == "running":
            # It was begun again since, or its result went with a worker: Dask has it made anew.
            self._remade[task.key] = future
        else:
            self._lost(task)

    def _not_read(self, task: Task, future: Future[Any], error: Exception) -> None:
        """Wait again for a result that went with its worker; give up one that is not what we take."""
        self._renewed[task.key] = self._renewed.get(task.key, 0) + 1
        if self._renewed[task.key] <= _RENEWALS:
            self._screen.say(f"{task.cell}: its result is lost with its worker ({type(error).__name__})")
            self._follow(task.key, future)
            return
        for cell in self._left(task):
            text = f"its result cannot be read: {one_line(str(error))[:300]}"
            self._screen.say(self._sink.failed(cell, text))

    def _take(self, task: Task, data: object) -> None:
        if task.kind == "cell":
            if task.cell in self._sink.open_cells:
                self._screen.say(self._sink.take(task.cell, data, self._crew.file))
            return
        what = task.cells[0] + (f" and {len(task.cells) - 1} more" if task.cells[1:] else "")
        try:
            note = self._sink.note_logs(data, what)
        except InfraError as e:
            self._screen.warn(e.what)
            return
        if note.exit_code or note.trouble:
            last = note.trouble or one_line(" ".join(note.tail.strip().splitlines()[-3:]))
            self._screen.warn(f"the base of {what} was not made on {note.worker}: {last}")
        else:
            self._screen.say(f"✓ base of {what}: ready on {note.worker} ({note.seconds:.1f} s)")
        for cell in self._left(task):
            if cell in note.skips:
                self._screen.say(self._sink.skipped(cell, note.skips[cell]))
                self._drop(cell)

    def _drop(self, cell: str) -> None:
        """Take back the task of a cell that needs none."""
        future = self._futures.pop(self._keys[cell], None)
        if future is not None:
            self._client.cancel([future], force=True)

    def _failed(self, task: Task, future: Future[Any]) -> None:
        """Record a task that Dask gave up: it killed its workers, or could not be run at all."""
        try:
            error: BaseException | None = future.exception(timeout=_RESULT_S)
        except Exception as e:
            error = e
        text = one_line(str(error))
        if type(error).__name__ == "KilledWorker":
            number = getattr(error, "allowed_failures", 2) + 1
            blamed = str(getattr(error, "task", ""))
            if task.kind == "cell" and blamed == future.key and self._crew.died_of(future.key) < number:
                # The others died of what they ran while this waited for them.
                self._waited[task.key] = self._waited.get(task.key, 0) + 1
                if self._waited[task.key] <= _WAITS:
                    self._client.retry([future])
                    self._follow(task.key, future)
                    return
            what = "they had it" if blamed == future.key else "they made its base"
            text = f"{number} workers died while {what}, so it is not tried again"
        if task.kind == "base":
            # Its cells wait for it and fail with it, unless only its note is lost.
            self._screen.warn(f"the base of {task.cells[0]}: {text}")
            return
        for cell in self._left(task):
            self._screen.say(self._sink.failed(cell, text))

    # -- what is lost ----------------------------------------------------------------------------
    def _lost(self, task: Task) -> None:
        """Hand a task over again that the scheduler does not have any more."""
        if not self._left(task):
            return
        if self._client.status != "running":
            self._come_back()
            return
        self._renewed[task.key] = self._renewed.get(task.key, 0) + 1
        if self._renewed[task.key] > _RENEWALS:
            for cell in self._left(task):
                self._screen.say(
                    self._sink.failed(cell, "its task was cancelled at the scheduler again and again")
                )
            return
        self._begin_again("a task was cancelled at the scheduler")

    def _come_back(self) -> None:
        """Wait for the scheduler to come back, and hand over what has no result. Raise InfraError."""
        left = count(len(self._sink.open_cells), "cell")
        self._screen.warn(
            f"the scheduler is gone, and with it what {left} had done so far: waiting {_BACK_S:g} s for it"
        )
        with suppress(Exception):
            self._client.close(timeout=1)
        deadline = time.monotonic() + _BACK_S
        while True:
            try:
                self._client = self._reconnect()
                # It has forgotten what its workers declare.
                greeting.register(self._client, self._greeted.wanted)
                self._crew.client = self._client
                break
            except InfraError as e:
                if time.monotonic() > deadline:
                    raise InfraError(
                        f"the scheduler is gone and did not come back; {left} have no verdict",
                        where=e.where,
                        detail=e.what,
                        hint="start it again, then the same command: what was built is kept",
                    ) from e
                time.sleep(1)
        self._begin_again("the scheduler is back")

    def _begin_again(self, why: str) -> None:
        self._screen.say(f"{why}: {count(len(self._sink.open_cells), 'cell')} handed over again")
        assert self._bundle is not None  # noqa: S101
        self._futures.clear()
        self._bases.clear()
        self._submit(self._open_tasks())

    # -- the end ---------------------------------------------------------------------------------
    def stop(self) -> None:
        """Cancel what is ours and end its jobs on the workers. What others run there goes on."""
        thread = Thread(self._stop, "stop")
        thread.start()
        thread.join(2 * _STOP_S)

    def _stop(self) -> None:
        with suppress(Exception):
            cells = [f for key, f in self._futures.items() if self._tasks[key].kind == "cell"]
            notes = [f for key, f in self._futures.items() if self._tasks[key].kind != "cell"]
            self._client.cancel(cells, force=True)
            self._client.cancel([*notes, *self._bases.values()])
            ours = json.dumps([future.key for future in [*cells, *self._bases.values()]])
            deadline = time.monotonic() + _STOP_S
            while time.monotonic() < deadline:
                left = self._client.run(worker.busy, ours, on_error="return").values()
                if not any(isinstance(one, bytes) and int(one) for one in left):
                    break
                time.sleep(_LOOK_S)
        self.forget()

    def forget(self) -> None:
        """Release what the scheduler keeps of this run."""
        with suppress(Exception):
            self._client.unpublish_dataset(self._dataset)
