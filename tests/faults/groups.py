"""Every injection there is, in the order of the table."""

from __future__ import annotations

from tests.faults import hostile, load, way
from tests.faults.way import cache, disks, servers, surroundings  # noqa: F401  (importing registers)

INJECTIONS = (*hostile.fault.injections, *way.fault.injections, *load.fault.injections)
