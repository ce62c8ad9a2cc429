"""Names of errors, as the agent tells them."""

from __future__ import annotations

import errno
import subprocess
from pathlib import Path

import pytest

from tests.support.agent import compile_with

PROGRAM = r"""
#include "agent.h"
#include <stdio.h>
#include <stdlib.h>
int main(int argc, char **argv)
{
    for (int n = 1; n < argc; n++)
        puts(error_name(atoi(argv[n])));
    return 0;
}
"""
# include/linux/errno.h: what a module's init may return as well.
INTERNAL = {"EPROBE_DEFER": 517, "ENOTSUPP": 524, "ENOPARAM": 519, "ERESTARTSYS": 512, "ENOGRACE": 531}


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compile_with(tmp_path_factory.mktemp("errors"), PROGRAM, "error_name.c")


def told(program: Path, *numbers: int) -> list[str]:
    argv = [program, *map(str, numbers)]
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout.split()


def test_every_error_of_this_machine_has_its_name(program: Path) -> None:
    names = told(program, *errno.errorcode)
    # Some numbers have two names.
    assert [getattr(errno, name) for name in names] == list(errno.errorcode)


def test_the_kernels_own_have_theirs(program: Path) -> None:
    assert told(program, *INTERNAL.values()) == list(INTERNAL)


def test_another_is_its_number(program: Path) -> None:
    assert told(program, 520, 4095) == ["errno-520", "errno-4095"]
