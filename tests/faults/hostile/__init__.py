"""Hostile input: archives, patches, series and names that mean harm.

    archives   tarballs, by path and by URL
    patches    patches, series and mailboxes
    folders    trees that are somebody's folder or repository
    names      names of everything that has one
    builds     Makefiles and Kconfig files that run commands of their own
    registry   artifacts and images in the shared registry
    documents  results, plans and TOML files

Nothing outside the work folder is read or written, and each gets a clear error.
"""

from __future__ import annotations

from tests.faults.hostile import archives, builds, documents, folders, names, patches, registry
from tests.faults.hostile.base import fault

__all__ = ["archives", "builds", "documents", "fault", "folders", "names", "patches", "registry"]
