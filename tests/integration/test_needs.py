"""Scripts as people have them, in a real guest: what it does not have is no verdict."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.conftest import require_machinery
from tests.integration.test_pipeline import invoke

pytestmark = [pytest.mark.integration, pytest.mark.thorough, pytest.mark.timeout(2400)]

CELL = "index-nouuid.INDEX=y.NOUUID=n"
# Where a program's stack is says where the kernel loads it.
LOADED = """#!/bin/sh
stack() { "$@" sed -n 's/-.*stack.*//p' /proc/self/maps; }
[ "$(stack)" = "$(stack)" ] && [ "$(stack linux64)" != "$(stack linux64)" ]
"""
SCRIPTS = {
    "loaded": LOADED,
    "bash": "#!/bin/bash\nexit 0\n",
    "from-env": "#!/usr/bin/env sh\nexit 0\n",
    "goes-on": "#!/bin/sh\nmkdir upper\nsetfattr -n user.x -v y upper\ngetfattr upper && echo BUG\nexit 0\n",
    "starts-it": "#!/bin/sh -e\ntimeout 5 fio --version\n",
    "asks-quietly": "#!/bin/sh\ncommand -v setfattr || which setfattr || exit 4\n",
    "usage": "#!/bin/sh\nls --no-such-option\n",
    "traced": "#!/bin/sh -ex\n[ -e nothing ]\n",
}


def test_scripts_as_people_have_them(tmp_path: Path) -> None:
    require_machinery()
    named = []
    for name, text in SCRIPTS.items():
        (tmp_path / f"{name}.sh").write_text(text)
        named += ["--case", str(tmp_path / f"{name}.sh")]
    ran = invoke(tmp_path / "out", "test", "--cell", CELL, *named)
    assert ran.code == 1, ran.text
    found = {name: (ran.case(CELL, name)["verdict"], ran.case(CELL, name)["message"]) for name in SCRIPTS}
    verdicts = {name: verdict for name, (verdict, _) in found.items()}
    assert verdicts == {
        "bash": "error",
        "from-env": "pass",
        "goes-on": "error",
        "starts-it": "error",
        "asks-quietly": "skip",
        "usage": "fail",
        "traced": "fail",
        "loaded": "pass",
    }
    assert "no verdict: the guest has no /bin/bash; " in found["bash"][1]
    assert "no verdict: the guest has no setfattr, getfattr; " in found["goes-on"][1]
    assert "no verdict: the guest has no fio; " in found["starts-it"][1]
    assert found["usage"][1].startswith("the script ended with exit status 1: ls: unrecognized option")
    assert found["traced"][1].startswith("the script ended with exit status 1: + '[' -e nothing ]")
    whole = (ran.latest / CELL / "output" / "usage.txt").read_text()
    assert "multi-call binary" in whole
