"""Where the cache is."""

from __future__ import annotations

import os
from pathlib import Path

from kmodpipe.util.errors import InfraError
from kmodpipe.util.files import IGNORES_ITSELF


def cache_path() -> Path | None:
    """Return the path of the cache, which need not exist, or None if the environment gives none.

    It is ``$KMODPIPE_CACHE``, else ``kmodpipe`` below ``$XDG_CACHE_HOME`` or ``~/.cache``. A relative
    $XDG_CACHE_HOME is ignored, as the XDG Base Directory Specification requires.
    """
    if named := os.environ.get("KMODPIPE_CACHE"):
        return Path(named).absolute()
    xdg = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if xdg.is_absolute():
        return xdg / "kmodpipe"
    home = os.environ.get("HOME")
    return Path(home).absolute() / ".cache" / "kmodpipe" if home else None


def cache_folder() -> Path:
    """Create the folder at `cache_path` and return it. Raises InfraError if it cannot be written."""
    path = cache_path()
    if path is None:
        raise InfraError("neither HOME nor XDG_CACHE_HOME is set", hint="set KMODPIPE_CACHE to a folder")
    try:
        path.mkdir(parents=True, exist_ok=True)
        if not os.access(path, os.W_OK | os.X_OK):
            raise PermissionError(13, "not writable")
        # A CI keeps it in the checkout, of which it is no part.
        if not any((path / name).exists() for name in (".gitignore", ".git")):
            (path / ".gitignore").write_text(IGNORES_ITSELF)
    except OSError as e:
        raise InfraError(
            f"the cache folder cannot be used: {e.strerror}",
            where=str(path),
            hint="set KMODPIPE_CACHE to a folder",
        ) from e
    return path
