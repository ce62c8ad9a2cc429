"""Every injection there is, in the order of the table."""

from __future__ import annotations

from tests.faults import hostile, way
from tests.faults.way import engines as _engines  # noqa: F401
from tests.faults.way import guests as _guests  # noqa: F401
from tests.faults.way import interruptions as _interruptions  # noqa: F401
from tests.faults.way import processes as _processes  # noqa: F401

INJECTIONS = (*hostile.fault.injections, *way.fault.injections)
