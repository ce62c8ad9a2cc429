"""Each command of an example's README.md, on a real kernel: passes, or shows a fix as fixed.

A base is built for most of them, which takes minutes: ``pytest -m kernels``.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.integration.conftest import require_machinery
from tests.integration.test_pipeline import invoke
from tests.support.examples import FOLDERS, commands, paths, values

pytestmark = [
    pytest.mark.integration,
    pytest.mark.thorough,
    pytest.mark.kernels,
    pytest.mark.timeout(2400),
]


@pytest.fixture(scope="module", autouse=True)
def machinery() -> None:
    require_machinery()


@pytest.mark.parametrize("folder", FOLDERS)
def test_what_its_readme_shows(folder: str, tmp_path: Path) -> None:
    for number, command in enumerate(commands(folder)):
        ran = invoke(tmp_path / str(number), *command)
        wanted = {path.stem for path in paths(command, "--case")}
        verdicts: dict[str, set[str]] = {}
        for cell in ran.run()["cells"]:
            # Where a case does not apply, it is skipped.
            judged = {case["case"]: case["verdict"] for case in cell["cases"] if case["verdict"] != "skip"}
            for case, verdict in judged.items():
                verdicts.setdefault(f"{cell['variant']} {case}", set()).add(verdict)
        if values(command, "--series") == ["none"]:
            assert ran.code == 0, ran.text
            assert verdicts == {f"unpatched {case}": {"pass"} for case in wanted}
        else:
            # The unpatched kernel has the bug, as a reproducer should show.
            assert ran.code == 0, ran.text
            assert verdicts == {"unpatched bug": {"pass"}, "fix bug": {"pass"}}
            assert re.search(r"FIXED +bug: \S+ → exit-0 ", ran.text), ran.text
