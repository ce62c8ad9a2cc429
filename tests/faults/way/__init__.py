"""Faults on the way: servers, downloads, the cache, disks, daemons, processes, clocks.

Each is injected for real, and survived with nothing lost.
"""

from __future__ import annotations

from tests.faults import Registry

fault = Registry("way")
