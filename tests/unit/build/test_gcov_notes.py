"""A module's folder alone is instrumented, and the compiler's notes about it are kept."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from kmodpipe.build import gcov_notes
from kmodpipe.util.errors import KernelFailure
from tests.support.trees import write

# What kbuild does of it: a make for each folder, $(obj) its name, and a file that must not be instrumented.
MAKEFILE = """
obj := top
all:
\t@echo $(obj) $(if $(patsubst n%,,$(GCOV_PROFILE)),counts)
\t@for f in fs/toy fs/toy/sub fs/toys lib; do $(MAKE) -s -f Makefile.build obj=$$f || exit 1; done
"""
BUILD = """
-include $(obj)/Makefile
all:
\t@echo $(obj) $(if $(patsubst n%,,$(GCOV_PROFILE)),counts)
"""


@pytest.mark.skipif(shutil.which("make") is None, reason="there is no make")
def test_make_expands_it_where_the_folder_is_built(tmp_path: Path) -> None:
    write(tmp_path, {"Makefile": MAKEFILE, "Makefile.build": BUILD})
    env = {**os.environ, **gcov_notes.instrumented("fs/toy")}
    out = subprocess.run(
        ["make", "-s"], cwd=tmp_path, env=env, capture_output=True, check=True, text=True
    ).stdout
    assert out.splitlines() == ["top", "fs/toy counts", "fs/toy/sub counts", "fs/toys", "lib"]
    write(tmp_path, {"fs/toy/sub/Makefile": "GCOV_PROFILE := n\n"})
    out = subprocess.run(
        ["make", "-s"], cwd=tmp_path, env=env, capture_output=True, check=True, text=True
    ).stdout
    assert out.splitlines()[2] == "fs/toy/sub", "what a Makefile says holds"


def test_only_notes_of_the_folder_are_kept_and_no_links(tmp_path: Path) -> None:
    obj = write(
        tmp_path / "obj", {"fs/toy/a.gcno": "a", "fs/toy/sub/b.gcno": "b", "fs/x.gcno": "", "fs/toy/a.o": ""}
    )
    (obj / "fs/toy/link.gcno").symlink_to("/etc/passwd")
    (obj / "fs/toy/folder.gcno").mkdir()
    gcov_notes.collect(obj, "fs/toy", tmp_path / "notes", "toy", tmp_path / "log")
    kept = {
        p.relative_to(tmp_path / "notes").as_posix() for p in (tmp_path / "notes").rglob("*") if p.is_file()
    }
    assert kept == {"fs/toy/a.gcno", "fs/toy/sub/b.gcno"}


def test_a_module_that_counts_nothing_is_a_failure_with_the_symbol(tmp_path: Path) -> None:
    obj = write(tmp_path / "obj", {"toy.o": ""})
    with pytest.raises(KernelFailure, match="instrumented nothing") as error:
        gcov_notes.collect(obj, "", tmp_path / "notes", "toy", tmp_path / "log")
    assert "CONFIG_GCOV_KERNEL" in error.value.hint


def test_the_key_of_other_modules_stays() -> None:
    assert gcov_notes.key_part(False) == {}
    assert gcov_notes.key_part(True) != {}
