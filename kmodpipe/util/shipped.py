"""Locate the folders that the package brings along: recipes, agent sources, cases, Kconfig fragments.

REPOSITORY/images kconfigs                            in a checkout, or installed with ``pip install -e``
SITE-PACKAGES/kmodpipe/shipped/images kconfigs        installed from a wheel (see setup.py)
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from kmodpipe.util import paths

# Paths and not importlib.resources: containers mount these folders, so they have to be real ones, and an
# editable install knows them under no name of the package.
_PACKAGE = Path(__file__).resolve().parents[1]


def folder(name: Literal["images", "kconfigs"]) -> Path:
    """Return the folder of that name which belongs to this copy of the package."""
    installed = _PACKAGE / "shipped" / name
    return installed if paths.is_dir(installed) else _PACKAGE.parent / name


def part(images: Path, name: str) -> Path:
    """Return a folder of a project's ``images``, or the package's where the project has none of its own."""
    return or_shipped(images / name, folder("images") / name)


def or_shipped(own: Path, shipped: Path) -> Path:
    """Return ``shipped`` if it exists and nothing is at ``own``; else ``own``, so that a broken link, and
    what cannot be read or is nowhere, is reported as the user's."""
    try:
        own.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return shipped if paths.exists(shipped) else own
    except (OSError, ValueError):
        pass
    return own
