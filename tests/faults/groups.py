"""Every injection there is, in the order of the table."""

from __future__ import annotations

from tests.faults import hostile, load, way

# Importing registers.
from tests.faults.way import (  # noqa: F401
    cache,
    disks,
    engines,
    green,
    guests,
    interruptions,
    keys,
    processes,
    reports,
    servers,
    surroundings,
)

INJECTIONS = (*hostile.fault.injections, *way.fault.injections, *load.fault.injections)
