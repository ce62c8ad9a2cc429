"""The warnings about a module of the tree are read from its build's log."""

from __future__ import annotations

from pathlib import Path

import pytest

from kmodpipe.build import compile_warnings, module_warnings
from kmodpipe.build.compile_warnings import CompileWarning
from kmodpipe.cache.store import Artifact

LOG = """\
make: Entering directory '/src'
  CC [M]  fs/overlayfs/super.o
/src/fs/overlayfs/super.c: In function 'ovl_fill_super':
/src/fs/overlayfs/super.c:12:6: warning: unused variable 'x' [-Wunused-variable]
  MODPOST modules-only.symvers
WARNING: modpost: fs/overlayfs/overlay.o(.text+0x12): Section mismatch in reference
"""


def test_those_of_the_tree_are_in_the_log(tmp_path: Path) -> None:
    module = Artifact("module", "key", tmp_path)
    assert module_warnings.of(module, Path("/src")) == ()
    (tmp_path / "build.log").write_text(LOG)
    first, second = module_warnings.of(module, Path("/src"))
    assert (first.flag, second) == (
        "modpost",
        CompileWarning("fs/overlayfs/super.c", 12, "unused variable 'x'", "-Wunused-variable"),
    )


def test_those_of_a_module_of_its_own_source_are_kept_beside_it(tmp_path: Path) -> None:
    own = CompileWarning("own.c", 1, "x", "")
    (tmp_path / "out").mkdir()
    compile_warnings.write(tmp_path / "out" / "warnings.json", [own])
    (tmp_path / "build.log").write_text(LOG)
    assert module_warnings.of(Artifact("module", "key", tmp_path), Path("/src")) == (own,)


def test_a_log_without_end_gives_no_more_than_a_reader_looks_at(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = (f"a.c:{n}: warning: x" for n in range(1, 10**9))
    assert len(compile_warnings.in_log(lines, Path("/src"))) == compile_warnings.MOST
