"""The code quality file, as GitLab reads it."""

from __future__ import annotations

import json
from typing import Any

from kmodpipe.analysis.check import code_quality
from tests.support.sample_check import REPORT


def test_each_entry_has_what_gitlab_wants() -> None:
    found: list[dict[str, Any]] = json.loads(json.dumps(code_quality.document(REPORT)))
    assert len(found) == len(REPORT.findings)
    for one in found:
        assert one["description"] and one["check_name"] and one["location"]["path"]
        assert "\n" not in one["description"] and "\x1b" not in one["description"]
        assert one["severity"] in ("info", "minor", "major", "critical", "blocker")
        assert isinstance(one["location"]["lines"]["begin"], int) and one["location"]["lines"]["begin"] >= 1
        assert not one["location"]["path"].startswith(("/", "./"))
    assert len({one["fingerprint"] for one in found}) == len(found)
    first = next(one for one in found if one["check_name"] == "compiler")
    assert first["location"] == {"path": "fs/overlayfs/super.c", "lines": {"begin": 15}}
