"""Which cases a guest has that is used by hand."""

from __future__ import annotations

from pathlib import Path

from kmodpipe.judge.cases import Case
from kmodpipe.pipeline.shell import with_cases


def case(name: str, *tools: str) -> Case:
    return Case(id=name, summary="", path=Path(f"{name}.sh"), tools=tools)


def test_the_chosen_case_comes_with_its_tools_and_the_others_if_they_need_none() -> None:
    declared = (case("plain"), case("slow", "docker.io"), case("chosen", "fio"), case("fs", "xfs"))
    found = with_cases((case("chosen", "fio"),), declared, ("xfs",))
    assert [one.id for one in found] == ["chosen", "plain", "fs"]
    assert [one.id for one in with_cases((), declared, ())] == ["plain"]
