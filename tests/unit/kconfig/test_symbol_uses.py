"""Who reads a symbol, and which symbols are tested and never defined."""

from __future__ import annotations

from pathlib import Path

from kmodpipe import kconfig
from tests.support.sample_symbols import tree


def places(root: Path, symbol: str) -> list[str]:
    return [f"{p}{'' if p.code else ' (Kconfig)'}" for p in kconfig.readers(root, symbol, "fs/x")]


def test_readers_of_a_symbol(tmp_path: Path) -> None:
    root = tree(tmp_path)
    assert places(root, "X_UUID_OFF") == ["fs/x/Kconfig:12 (Kconfig)"]
    assert places(root, "X_INDEX") == ["fs/x/Kconfig:7 (Kconfig)", "fs/x/super.c:2"]
    assert places(root, "X") == ["fs/x/Makefile:1", "fs/x/super.c:5"]
    assert places(root, "X_NOUUID") == places(root, "X_MORE") == []
    (root / "include").mkdir()
    (root / "include/x.h").write_text("int x = IS_BUILTIN(CONFIG_X_UUID_OFF);\n")
    (root / "include/link.h").symlink_to(root / "include/x.h")
    assert places(root, "X_UUID_OFF") == ["fs/x/Kconfig:12 (Kconfig)", "include/x.h:1"]


def test_tested_and_never_defined(tmp_path: Path) -> None:
    source = "#define CONFIG_X_LOCAL 1\n#if CONFIG_X_LOCAL && CONFIG_OTHER\n#endif\n"
    root = tree(tmp_path)
    (root / "fs/x/other.c").write_text(source)
    files = ["fs/x/super.c", "fs/x/other.c", "fs/x/Makefile", "fs/x/Kconfig", "gone.c"]
    found = kconfig.undefined(root, files, "X_UUID_OFF")
    assert [(str(p), p.symbol) for p in found] == [
        ("fs/x/super.c:4", "X_NOUUID_OFF"),
        ("fs/x/other.c:2", "OTHER"),
    ]
    assert kconfig.alike("X_NOUUID_OFF", "X_UUID_OFF") and not kconfig.alike("OTHER", "X_UUID_OFF")
