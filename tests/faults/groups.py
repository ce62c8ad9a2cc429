"""Every injection there is, in the order of the table."""

from __future__ import annotations

from tests.faults import hostile, way

INJECTIONS = (*hostile.fault.injections, *way.fault.injections)
