"""The CI files for repositories that are not ours: one job in several forms."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from kmodpipe.pipeline import first_ci
from tests.support import REPO


def load(name: str) -> list[Any]:
    return list(yaml.safe_load_all((REPO / name).read_text()))


def test_the_component_and_the_remote_file_are_the_same_job() -> None:
    head, component = load("templates/kmodpipe.yml")
    (remote,) = load("docs/ci/gitlab-remote.yml")
    defaults = {name: one["default"] for name, one in head["spec"]["inputs"].items()}

    def filled(value: Any) -> Any:
        if isinstance(value, dict):
            return {filled(key): filled(one) for key, one in value.items()}
        if isinstance(value, list):
            return [filled(one) for one in value]
        if isinstance(value, str):
            return re.sub(r"\$\[\[ inputs\.(\w+) \]\]", lambda found: defaults[found[1]], value)
        return value

    assert filled(component) == remote


def test_every_input_of_the_action_is_used() -> None:
    (action,) = load("action.yml")
    steps = yaml.safe_dump(action["runs"])
    assert {name for name in action["inputs"] if f"inputs.{name}" not in steps} == set()
    # What a caller gives is never a part of a script.
    assert not any("${{" in step.get("run", "") for step in action["runs"]["steps"])


@pytest.mark.parametrize("ci", ["github", "gitlab"])
def test_what_init_writes_asks_for_nothing_to_be_filled_in(ci: str) -> None:
    name, text = first_ci.file(ci, taken=False)
    assert yaml.safe_load(text) and "kmodpipe ci" in text
    assert not re.search(r"OWNER|ADDRESS|example\.", text)
    assert first_ci.file(ci, taken=True)[0] == {"github": name, "gitlab": ".gitlab/kmodpipe.yml"}[ci]
