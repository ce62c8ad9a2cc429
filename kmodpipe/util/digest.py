"""SHA-256 digests of values, files and folders."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path


def digest_of(value: object) -> str:
    """Return the SHA-256 (hex) of the canonical JSON of ``value``."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def digest_file(path: Path) -> str:
    """Return the SHA-256 (hex) of a file's bytes."""
    with path.open("rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


def digest_tree(root: Path) -> str:
    """Return the SHA-256 (hex) over names, executable bits, link targets and contents below ``root``."""
    rows: list[list[str]] = []
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root).as_posix()
        if path.is_symlink():
            rows.append([name, "link", str(path.readlink())])
        elif path.is_file():
            rows.append([name, "x" if os.access(path, os.X_OK) else "-", digest_file(path)])
    return digest_of(rows)
