"""What an artifact holds."""

from __future__ import annotations

from pathlib import Path


def fill(folder: Path) -> None:
    (folder / "sub").mkdir()
    (folder / "sub" / "vmlinux").write_bytes(b"kernel")
    (folder / "link").symlink_to("sub/vmlinux")
