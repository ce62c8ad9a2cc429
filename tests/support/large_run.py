"""A run of many cells and cases."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from kmodpipe.results import CaseResult, CellResult, Run, Span, State
from tests.support.sample_run import INFOS, failed, seen


def large(cells: int, cases: int, bad: int) -> Run:
    infos = tuple(replace(INFOS[0], id=f"a-case-with-quite-a-long-name-{i}") for i in range(cases))
    text = "\n".join(["some line of output or of the kernel's log, as they are"] * 200)

    def one(number: int, info: Any) -> CaseResult:
        if number % bad:
            return replace(seen(0, "mounted"), case=info.id)
        own = replace(failed(0, "ESTALE", "mounted"), case=info.id, output_excerpt=text, kmsg=(text,))
        return replace(own, evidence=text)

    made = [
        CellResult(
            f"v{c % 4}.A={c}", f"v{c % 4}" if c % 4 else "unpatched", "d", {"A": str(c)}, State.RAN,
            cases=tuple(one(c * cases + n, info) for n, info in enumerate(infos)),
            artifacts={"console.log": f"v{c}/console.log"}, properties={"qemu": "qemu " * 40},
        )
        for c in range(cells)
    ]  # fmt: skip
    spans = [Span("test", c.cell, n * 1.5, 2.9) for n, c in enumerate(made)]
    return Run("large", "2020-10-13T12:00:00Z", infos, tuple(made), timeline=tuple(spans))
