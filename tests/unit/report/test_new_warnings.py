"""The compiler's warnings that a series brings: against the control's cell, whatever line they moved to."""

from __future__ import annotations

from dataclasses import replace
from xml.etree import ElementTree

from rich.console import Console

from kmodpipe.build.compile_warnings import CompileWarning
from kmodpipe.report import html, junit, mail, markup, new_warnings, summary, terminal
from kmodpipe.results import Run, State
from kmodpipe.util.text import visible
from tests.support.sample_run import Y_N, Y_Y, finished

OLD = CompileWarning("fs/overlayfs/super.c", 10, "unused variable 'x'", "-Wunused-variable")
MORE = CompileWarning("fs/overlayfs/super.c", 3, "unused variable 'x'", "-Wunused-variable")
HOSTILE = CompileWarning("fs/overlayfs/dir.c", 7, "<b>\x1b[31m::error::", "")
CONTROL = "unpatched.INDEX=y.NOUUID=n"


def origin(file: str, line: int) -> tuple[str, int]:
    """The series adds seven lines at the top."""
    return file, max(0, line - 7)


def warned(**cells: tuple[tuple[CompileWarning, ...], bool]) -> Run:
    run = finished()
    named = {"control": CONTROL, "y_n": Y_N, "y_y": Y_Y}
    found = {
        named[name]: new_warnings.recorded(own, origin if of_series else None)
        for name, (own, of_series) in cells.items()
    }
    return replace(
        run,
        cells=tuple(
            replace(c, properties={**c.properties, **found.get(c.cell, {})}) if c.cell in found else c
            for c in run.cells
        ),
    )


MOVED = replace(OLD, line=17)
RUN = warned(control=((OLD,), False), y_n=((MORE, MOVED), True), y_y=((MOVED, HOSTILE), True))


def test_what_moved_is_old_and_what_is_added_is_new() -> None:
    found = {(one.warning, one.cells) for one in new_warnings.of_run(RUN)}
    assert found == {(MORE, (Y_N,)), (HOSTILE, (Y_Y,))}
    assert new_warnings.sentence(new_warnings.of_run(RUN)) == "2 new compiler warnings"


def test_without_origins_their_number_counts() -> None:
    """Results of another version, or of a machine that left them out."""
    run = warned(control=((OLD,), False), y_n=((MORE, MOVED), False))
    assert [one.warning for one in new_warnings.of_run(run)] == [MOVED]


def test_nothing_is_new_where_nothing_was_compared() -> None:
    cells = tuple(
        replace(c, state=State.INFRA, cases=()) if c.variant == "unpatched" else c for c in RUN.cells
    )
    assert new_warnings.of_run(replace(RUN, cells=cells)) == ()
    assert new_warnings.of_run(finished()) == ()


def test_every_report_tells_them_and_none_is_taken_in_by_their_text() -> None:
    console = Console(width=200, color_system=None)
    with console.capture() as shown:
        console.print(terminal.report(RUN))
    pages = {
        "terminal": shown.get(),
        "markdown": markup.markdown(summary.whole(RUN, None), 60_000),
        "mail": mail.text(RUN),
        "html": html.text(RUN),
    }
    for name, page in pages.items():
        assert "2 new compiler warnings" in page, name
        assert "\x1b" not in page, name
    assert "<b>\\x1b" not in pages["html"] and "&lt;b&gt;\\x1b[31m" in pages["html"]
    assert f"`{visible(str(HOSTILE))}`" in pages["markdown"]
    suites = {s.get("name"): s for s in ElementTree.fromstring(junit.text(RUN))}
    own = {p.get("name"): p.get("value") or "" for p in suites[Y_N].iter("property")}
    assert own["new-warnings"] == str(MORE)
    assert "new-warnings" not in {p.get("name") for p in suites[CONTROL].iter("property")}
