"""What a script needs is read from it before anything is built."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from kmodpipe.judge.script import Needs, add_programs, guest_has_no, needs_of
from kmodpipe.util.errors import UserError
from kmodpipe.vm.guest_root import GuestRoot

ROOT = GuestRoot(
    {
        "/bin/sh": "busybox",
        "/bin/busybox": "",
        "/bin/env": "busybox",
        "/usr/bin": "../bin",
        "/lib/libc.so.6": "",
    }
)


def script(tmp_path: Path, content: bytes) -> Path:
    path = tmp_path / "case.sh"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("content", "needs"),
    [
        (b"#!/bin/sh\n", Needs()),
        (b"#! /bin/sh -e\n", Needs()),
        (b"#!/bin/bash\n", Needs("/bin/bash")),
        (b"#!/usr/bin/env python3\n", Needs("/usr/bin/env", ("python3",))),
        (
            b"#!/bin/sh\n# needs: bash, setfattr CONFIG_USER_NS\n",
            Needs(programs=("bash", "setfattr"), symbols=("USER_NS",)),
        ),
        (b"#!/bin/sh\n#Needs: a\n\n  # needs: b a;\ntrue\n# needs: c\n", Needs(programs=("a", "b"))),
        (b"#!/bin/sh\n# needs: /sbin/xfs_io\n", Needs(programs=("/sbin/xfs_io",))),
        (b"#!/bin/sh\n# It needs nothing: really\n# needs:\n", Needs()),
        (b"#!/bin/sh", Needs()),
    ],
)
def test_what_a_script_says_it_needs(tmp_path: Path, content: bytes, needs: Needs) -> None:
    assert needs_of(script(tmp_path, content)) == needs


@pytest.mark.parametrize(
    ("content", "message", "hint"),
    [
        (b"#!/bin/sh\r\nexit 0\r\n", "CR LF", "sed -i"),
        (b"#!/usr/bin/env bash\r\n", "CR LF", "sed -i"),
        (b"\xef\xbb\xbf#!/bin/sh\n", "begins neither with #!", "byte order mark"),
        ("#!/bin/sh\n".encode("utf-16"), "begins neither with #!", "byte order mark"),
        (b"mount x y\n", "begins neither with #!", "#!/bin/sh"),
        (b"", "begins neither with #!", "#!/bin/sh"),
        (b"#!\n", "not an absolute path: ''", "#!/bin/sh"),
        (b"#!bash\n", "not an absolute path: 'bash'", "#!/bin/sh"),
        (b"#!/bin/" + b"x" * 300 + b"\n", "reads 255 bytes", ""),
        (b"#!/bin/s\0h\n", "reads 255 bytes", ""),
        (b"#!/usr/bin/env -S bash -e\n", "runs no program named '-S bash -e'", "by its path"),
        (b"#!/usr/bin/env\n", "runs no program named ''", "by its path"),
        (
            b"#!/bin/sh\n#\n# needs: bash CONFIG_user\n",
            "neither a program nor a symbol: 'CONFIG_user'",
            "USER_NS",
        ),
        (b"#!/bin/sh\n# needs: $BASH\n", "neither a program nor a symbol: '$BASH'", "USER_NS"),
        (b"\x7fELF", "no whole ELF file", ""),
        (b"\x7fELF" + bytes(range(60)), "no whole ELF file", ""),
    ],
)
def test_what_no_guest_can_run_is_a_usage_error(
    tmp_path: Path, content: bytes, message: str, hint: str
) -> None:
    path = script(tmp_path, content)
    with pytest.raises(UserError) as caught:
        needs_of(path)
    assert message in caught.value.what
    assert hint in caught.value.hint
    assert caught.value.where.startswith(str(path))


def program(machine: int = 62, interpreter: bytes = b"") -> bytes:
    """A little-endian ELF64 program without sections, and with a loader if one is named."""
    segments = 1 if interpreter else 0
    header = b"\x7fELF\x02\x01\x01" + bytes(9)
    header += struct.pack("<HHIQQQIHHHHHH", 2, machine, 1, 0, 64, 0, 0, 64, 56, segments, 64, 0, 0)
    size = len(interpreter) + 1
    segment = struct.pack("<IIQQQQQQ", 3, 4, 64 + 56, 0, 0, size, size, 1) + interpreter + b"\0"
    return header + (segment if segments else b"")


def test_a_program_needs_its_loader_and_the_guests_machine(tmp_path: Path) -> None:
    assert needs_of(script(tmp_path, program())) == Needs("")
    assert needs_of(script(tmp_path, program(interpreter=b"/lib64/ld.so"))) == Needs("/lib64/ld.so")
    with pytest.raises(UserError, match="for AArch64, the guest is x86-64"):
        needs_of(script(tmp_path, program(183)))
    with pytest.raises(UserError, match="cannot be read"):
        needs_of(tmp_path / "missing.sh")


def test_what_is_missing_is_named_once_and_what_is_there_is_not() -> None:
    assert Needs().missing_from(ROOT) == ()
    assert Needs(
        "/usr/bin/env", ("sh", "python3", "/bin/sh", "/sbin/x"), ("libc.so.6", "libm.so.6")
    ).missing_from(ROOT) == ("python3", "/sbin/x", "libm.so.6")
    assert Needs("/bin/bash", ("/bin/bash",)).missing_from(ROOT) == ("/bin/bash",)
    assert guest_has_no(["bash", "a\nb"]).startswith(
        "no verdict: the guest has no bash, a\\nb; add the Debian "
    )


def test_the_hint_names_the_package_where_it_is_known() -> None:
    assert add_programs(["/bin/bash", "getfattr", "setfattr"]) == (
        'add tools = ["bash", "attr"] to the case, or to its script: # tools: bash attr'
    )
    assert 'the Debian package that has it: tools = ["PACKAGE"]' in add_programs(["bash", "frobnicate"])


def test_tools_stand_in_comments_beside_needs(tmp_path: Path) -> None:
    head = b"#!/bin/bash\n# Tools: bash, libstdc++6\n# needs: setfattr CONFIG_X\n#\n# tools: attr bash\n"
    found = needs_of(script(tmp_path, head + b"ls\n# tools: no\n"))
    assert found.tools == ("bash", "libstdc++6", "attr")
    assert (found.programs, found.symbols) == (("setfattr",), ("X",))
    with pytest.raises(UserError, match="named in small letters, 'Bash' is not") as e:
        needs_of(script(tmp_path, b"#!/bin/sh\n# tools: Bash\n"))
    assert e.value.where.endswith("case.sh:2")


@pytest.mark.parametrize(
    ("needs", "beyond"),
    [
        (Needs(), False),
        (Needs(""), False),
        (Needs(symbols=("X",)), False),
        (Needs("/bin/bash"), True),
        (Needs(programs=("x",)), True),
    ],
)
def test_only_what_is_beyond_the_shell_has_to_be_looked_for(needs: Needs, beyond: bool) -> None:
    assert needs.beyond_the_shell is beyond
