"""Every injection there is, in the order of the table."""

from __future__ import annotations

from tests.faults import hostile, way

# Importing registers.
from tests.faults.way import cache, disks, engines, guests, interruptions, processes, servers, surroundings  # noqa: F401  # noqa: F401

INJECTIONS = (*hostile.fault.injections, *way.fault.injections)
