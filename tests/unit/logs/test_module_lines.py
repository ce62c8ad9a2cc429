"""What the kernel said of a module that it did not load."""

from __future__ import annotations

from pathlib import Path

import pytest

from kmodpipe.logs.module_lines import about_module

CONSOLE = """\
[    0.300000] cuse: loading out-of-tree module taints kernel.
[    0.300000] cuse: module verification failed: signature and/or required key missing - tainting kernel
[    0.310000][   T1] cuse: Unknown symbol fuse_dev_free (err -2)
cuse: Unknown symbol fuse_conn_put (err -2)\r
[    0.310001] cuse: Unknown symbol fuse_dev_free (err -2)
[    0.320000] my cuse: not of the kernel
[    0.330000] dm_bufio: version magic '5.10 ' should be '6.1 '
[    0.340000] cuse2: other
[    0.350000] cuse: \x1b[31mfourth
[    0.360000] cuse: fifth
[    0.370000] cuse: sixth
"""


@pytest.mark.parametrize(
    "module, first, number",
    [
        # What taints the kernel is no reason.
        ("cuse", "cuse: Unknown symbol fuse_dev_free (err -2)", 4),
        ("dm-bufio", "dm_bufio: version magic '5.10 ' should be '6.1 '", 1),
        ("dm_bufio", "dm_bufio: version magic '5.10 ' should be '6.1 '", 1),
        ("cuse2", "cuse2: other", 1),
    ],
)
def test_the_lines_begin_with_its_name(tmp_path: Path, module: str, first: str, number: int) -> None:
    (tmp_path / "console.log").write_text(CONSOLE)
    found = about_module(tmp_path / "console.log", module)
    assert (found[0], len(found), len(set(found))) == (first, number, number)
    assert "\x1b" not in "".join(found)


def test_of_others_there_is_nothing(tmp_path: Path) -> None:
    (tmp_path / "console.log").write_text(CONSOLE)
    assert about_module(tmp_path / "console.log", "c.se") == about_module(tmp_path / "none", "cuse") == ()


@pytest.mark.parametrize(
    "line",
    [
        "Loading of unsigned module is rejected",
        "Loading of module with unavailable key is rejected",
        "Lockdown: agent: unsigned module loading is restricted; see man kernel_lockdown.7",
    ],
)
def test_what_is_said_of_a_signature_names_no_module(tmp_path: Path, line: str) -> None:
    (tmp_path / "console.log").write_text(f"[    0.3] other: x\n[    0.400000] {line}\n")
    assert about_module(tmp_path / "console.log", "hello") == (line,)
