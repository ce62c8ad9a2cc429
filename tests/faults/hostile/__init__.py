"""Hostile input: archives, patches, series and names that mean harm.

Nothing outside the work folder is read or written, and each gets a clear error.
"""

from __future__ import annotations

from tests.faults import Registry

fault = Registry("hostile")
