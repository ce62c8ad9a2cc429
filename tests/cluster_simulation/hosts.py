"""Many of Dask's workers in one process: ``tests.cluster_simulation.hosts ADDRESS SIMULATION NAME…``.

A real worker has a machine to itself. Of what Dask does to look after a machine, a hundred times on one, is
left only what the scheduler sees of it: heartbeats and tasks.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
from contextlib import AsyncExitStack

import dask

from tests.cluster_simulation.work import Simulation

# Samples of what a worker's thread does, of the machine's load and of the loop's pace: by default up to a
# hundred times a second, for each worker.
QUIET = {
    "distributed.worker.profile.enabled": False,
    "distributed.admin.tick.interval": "5s",
    "distributed.admin.tick.limit": "60s",
    "distributed.admin.system-monitor.interval": "60s",
    "distributed.admin.system-monitor.disk": False,
    "distributed.admin.system-monitor.host-cpu": False,
    "distributed.admin.system-monitor.gil.enabled": False,
    "distributed.worker.memory.monitor-interval": "60s",
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
}


async def serve(address: str, asked: Simulation, names: list[str]) -> None:
    """Run the workers until this process is ended."""
    from distributed import Worker

    async with AsyncExitStack() as stack:
        for name in names:
            worker = Worker(
                address, nthreads=1, name=name, resources=dict(asked.facts.resources), dashboard=False,
                memory_limit=0, local_directory=os.environ["KMODPIPE_SIMULATION"], host="127.0.0.1",
            )  # fmt: skip
            await stack.enter_async_context(worker)
        await asyncio.Event().wait()


def main(address: str, asked: str, *names: str) -> None:
    logging.getLogger("distributed").setLevel(logging.CRITICAL + 1)
    with dask.config.set(QUIET):
        asyncio.run(serve(address, Simulation(**json.loads(asked)), list(names)))


if __name__ == "__main__":
    main(*sys.argv[1:])
