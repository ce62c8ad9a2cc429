"""Faults on the way: servers, downloads, the cache, disks, daemons, processes, clocks.

Each is injected for real, and survived with nothing lost.

    toys       a toy project in a scene: made, run, held up, meddled with
    zygotes    its drivers, started sooner
    moments    when they are killed
    warm       a scene's cache with a real kernel in it
    judging    what has to hold of a command and of the results that it left
    impatient  kmodpipe with short limits
"""

from __future__ import annotations

from tests.faults import Registry

fault = Registry("way")
