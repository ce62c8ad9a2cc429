"""Dead axes with real kernels: the mistake of the thread's third version is caught, living axes are not."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from junitparser import Failure, JUnitXml

from kmodpipe.build.runtime import docker_engine
from kmodpipe.host import facts
from tests.integration.conftest import require
from tests.integration.test_pipeline import REPO, Ran, invoke, script

pytestmark = [pytest.mark.integration, pytest.mark.timeout(2400)]

DEAD = REPO / "tests" / "series" / "dead-option"


@pytest.fixture(scope="module", autouse=True)
def machinery() -> None:
    require(docker_engine.look().state is docker_engine.State.ANSWERS, "no Docker Engine answers")


def told(ran: Ran) -> None:
    """The symbol, that nothing reads it, and the name that was meant, with its place."""
    assert ran.code == 1, ran.text
    assert "axis NOUUID (OVERLAY_FS_INDEX_UUID_OFF) is dead in dead-option" in ran.text
    assert "nothing reads CONFIG_OVERLAY_FS_INDEX_UUID_OFF" in ran.text
    assert re.search(
        r"fs/overlayfs/super\.c:\d+ tests CONFIG_OVERLAY_FS_UUID_OFF, which no Kconfig file defines", ran.text
    )
    assert "axis INDEX" not in ran.text


def test_dead_option_fails_the_build(tmp_path: Path) -> None:
    ran = invoke(tmp_path, "build", "--series", str(DEAD))
    told(ran)
    for choice in ("INDEX=y.NOUUID=y", "INDEX=y.NOUUID=n", "INDEX=n.NOUUID=y", "INDEX=n.NOUUID=n"):
        assert f"✓ dead-option.{choice}" in ran.stdout


@pytest.mark.thorough
def test_dead_option_fails_a_run_whose_cells_all_pass(tmp_path: Path) -> None:
    require(shutil.which(facts.QEMU.program) is not None, "no QEMU for x86")
    green = script(tmp_path, "green", "exit 0")
    ran = invoke(
        tmp_path / "out",
        "test",
        "--series",
        str(DEAD),
        "--no-control",
        "--cell",
        "dead-option.*",
        "--case",
        green,
    )
    told(ran)
    run = ran.run()
    assert {c["cases"][0]["verdict"] for c in run["cells"]} == {"pass"}
    (dead,) = run["dead_axes"]
    assert dead["failure"] and len(dead["cells"]) == 2
    suites = {s.name: list(s) for s in JUnitXml.fromfile(str(ran.latest / "junit.xml"))}
    assert suites.pop("(run)") == []
    (case,) = suites["dead-option"]
    assert (case.classname, case.name) == ("dead-option", "(axis NOUUID)")
    assert isinstance(case.result[0], Failure)


@pytest.mark.thorough
@pytest.mark.parametrize("series", ["index-nouuid", "uuid-off"])
def test_real_series_have_no_dead_axis(tmp_path: Path, series: str) -> None:
    ran = invoke(tmp_path, "build", "--series", series)
    assert ran.code == 0, ran.text
    assert "is dead in" not in ran.text and "makes no difference" not in ran.text
