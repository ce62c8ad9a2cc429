"""Find the project that a command is about."""

from __future__ import annotations

from pathlib import Path


def current_folder() -> Path:
    """Return the current folder, or if it was removed a path that does not exist: commands then say so."""
    try:
        return Path.cwd()
    except OSError:
        return Path("/nowhere")


def find_root(folder: Path) -> Path:
    """Return the folder of the project (`project_above`), or ``folder`` if there is none."""
    return project_above(folder) or folder


def project_above(folder: Path) -> Path | None:
    """Return ``folder`` or the nearest folder above it that declares a project, None if none does.

    A project is declared by a kmodpipe.toml, or by ``[tool.kmodpipe]`` of a pyproject.toml.
    """
    for candidate in (folder, *folder.parents):
        try:
            if (candidate / "kmodpipe.toml").is_file():
                return candidate
            if "[tool.kmodpipe]" in (candidate / "pyproject.toml").read_text("utf-8"):
                return candidate
        except (OSError, UnicodeDecodeError):
            continue
    return None
