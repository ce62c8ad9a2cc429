"""Hunks left out and mistakes made in a real kernel's module: what the cases notice, and what they do not."""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.integration.conftest import require_machinery
from tests.support import REPO

pytestmark = [pytest.mark.integration, pytest.mark.timeout(3600)]

CELL = "index-nouuid.INDEX=y.NOUUID=n"
# Looks at the option alone. A new name for each run, so that no earlier answer counts.
SCRIPT = """\
#!/bin/sh
# {token}
mkdir /mnt/t && mount -t tmpfs t /mnt/t && cd /mnt/t && mkdir l u w m || exit 4
mount -t overlay o -o lowerdir=l,upperdir=u,workdir=w,index=nouuid m || exit 1
grep -q "^o .*index=nouuid" /proc/mounts
"""


@pytest.fixture(scope="module", autouse=True)
def machinery() -> None:
    require_machinery()


def ablate(out: Path, *argv: str) -> tuple[int, str, dict[str, Any]]:
    """Run the command on Linux 5.10; return the exit code, what it said, and ablate.json."""
    done = subprocess.run(
        [sys.executable, "-m", "invoke", "ablate", "-t", "debian-5.10", "-o", str(out), *argv],
        cwd=REPO,
        capture_output=True,
        text=True,
        check=False,
    )
    said = done.stdout + done.stderr
    answers = sorted(out.glob("2*/ablate.json"))
    assert answers, said
    return done.returncode, said, json.loads(answers[-1].read_text())


@pytest.mark.thorough
def test_a_case_of_ones_own_notices_what_it_looks_at(tmp_path: Path) -> None:
    script = tmp_path / "option.sh"
    script.write_text(SCRIPT.format(token=secrets.token_hex(8)))
    only = [word for name in ("2.5", "3.2", "3.7", "3.9", "3.9-call-1") for word in ("--only", name)]
    code, said, answer = ablate(
        tmp_path / "out", "-s", "index-nouuid", "--cell", CELL, "--case", str(script),
        "--kind", "hunk", "--kind", "call", *only,
    )  # fmt: skip
    assert code == 1, said
    found = {one["id"]: one for one in answer["findings"]}
    assert {name: one["status"] for name, one in found.items()} == {
        "2.5": "same-module",  # true is 1, and so is OVL_INDEX_ON
        "3.2": "no-code",
        "3.7": "noticed-by-case",
        "3.9": "unnoticed",
        "3.9-call-1": "unnoticed",
    }
    assert (found["3.7"]["case"], found["3.7"]["cell"]) == ("option", CELL)
    (said_so,) = found["3.9-call-1"]["observe"]
    assert "expect the message" in said_so and "falling back to index=on" in said_so


@pytest.mark.thorough
@pytest.mark.kernels
@pytest.mark.parametrize("series", ["index-nouuid", "uuid-off"])
def test_every_hunk_of_the_shipped_series_is_noticed_or_explained(tmp_path: Path, series: str) -> None:
    code, said, answer = ablate(tmp_path / "out", "-s", series)
    missed = [one["id"] for one in answer["findings"] if one["status"] in ("unnoticed", "unknown")]
    assert (code, missed, answer["stale"]) == (0, [], []), said
