"""What a plan looks like on the screen; what is in it, see tests/pipeline."""

from __future__ import annotations

import io

from rich.console import Console

from kmodpipe.pipeline import plan_rows
from kmodpipe.pipeline.plan_rows import CACHED, TODO, WAITS, Row


def shown(*rows: Row) -> list[str]:
    out = io.StringIO()
    Console(file=out, width=120).print(plan_rows.table(rows))
    return [line.rstrip() for line in out.getvalue().splitlines() if line.strip()]


def modules(number: int) -> list[Row]:
    return [Row(f"module s.AXIS={n}", WAITS, "for base b1") for n in range(number)]


def test_a_short_plan_has_a_line_a_step() -> None:
    lines = shown(Row("fetch t", CACHED, "1"), *modules(20))
    assert len(lines) == 1 + 21 + 1 and lines[-1] == "1 cached, 20 waits"


def test_a_long_plan_says_once_what_holds_for_many_cells() -> None:
    cached = [Row(f"module u.AXIS={n}", CACHED, f"{n:012}") for n in range(300)]
    other = Row("module s.AXIS=x", TODO, "changed: touched files")
    rows = (Row("fetch t", CACHED, "1"), *modules(700), other, *cached)
    lines = shown(*rows)
    assert [" ".join(line.split()) for line in lines[1:]] == [
        "fetch t cached 1",
        "module s.AXIS=0 and 699 more waits for base b1",
        "module s.AXIS=x to do changed: touched files",
        "module u.AXIS=0 and 299 more cached 000000000000 and others",
        "301 cached, 1 to do, 700 waits",
    ]
    steps = plan_rows.document(rows)["steps"]
    assert isinstance(steps, list) and len(steps) == 1002
