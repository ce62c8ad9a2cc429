"""Flavours with real tools, kernels and guests: one cell of a series in each. The debug kernels are in
test_faults.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.conftest import require_machinery
from tests.integration.test_pipeline import invoke

pytestmark = [pytest.mark.integration, pytest.mark.thorough, pytest.mark.timeout(2400)]

CASES = ("uuid-remount-index-on", "uuid-remount-index-nouuid")


@pytest.fixture(scope="module", autouse=True)
def machinery() -> None:
    require_machinery()


@pytest.mark.parametrize(
    "flavour", [pytest.param(name, marks=pytest.mark.flavour(name)) for name in ("xfs", "btrfs")]
)
def test_a_changed_uuid_matters_on_other_file_systems_too(tmp_path: Path, flavour: str) -> None:
    cell = f"index-nouuid.INDEX=y.NOUUID=n.{flavour}"
    named = [word for case in CASES for word in ("--case", case)]
    ran = invoke(tmp_path, "test", "--no-control", "--cell", cell, *named)
    assert ran.code == 0, ran.text
    assert [ran.case(cell, case)["outcome"] for case in CASES] == ["ESTALE", "mounted"]
    for case in CASES:
        seen = ran.case(cell, case)["observations"]
        assert seen["uuid_before"] != seen["uuid_after"]
        assert seen["check"] == "0"
    # Its own kernel and tools.
    (result,) = ran.run()["cells"]
    assert result["flavour"] == flavour
    assert f"CONFIG_{flavour.upper()}_FS=y" in (ran.latest / cell / "config").read_text()
    assert (ran.latest / "shared" / f"tools-{flavour}.cpio").is_file()


@pytest.mark.flavour("faultinject")
def test_what_fails_on_demand_is_survived(tmp_path: Path) -> None:
    cell = "index-nouuid.INDEX=y.NOUUID=n.faultinject"
    ran = invoke(
        tmp_path,
        "test",
        "--no-control",
        "--cell",
        cell,
        "--case",
        "failing-allocations",
        "--case",
        "failing-disk",
    )
    assert ran.code == 0, ran.text
    seen = ran.case(cell, "failing-allocations")["observations"]
    assert int(seen["failed_copy_ups"]) >= 10 and "Cannot allocate memory" in seen["messages"]
    assert ran.case(cell, "failing-disk")["observations"]["while_failing"] == "failed"
