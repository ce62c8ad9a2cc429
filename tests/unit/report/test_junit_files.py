"""A run that is too large for one JUnit file: parts that its readers take, nothing lost, bad news first."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from lxml import etree

from kmodpipe.report import junit, junit_files
from kmodpipe.results import CaseInfo, CaseResult, CellResult, Run, State, Verdict
from tests.support.large_run import large
from tests.support.sample_run import DEAD, finished
from tests.unit.report.test_junit import STRICT


def keys(root: etree._Element) -> list[tuple[str, str]]:
    return [(c.get("classname"), c.get("name")) for c in root.iter("testcase")]


def parts(run: Run, *, strict: bool = False) -> list[etree._Element]:
    """The files, each checked against the limits, and its sums."""
    found = []
    for text in junit.files(run, strict=strict):
        assert len(text.encode()) < 20_000_000
        root = etree.fromstring(text.encode())
        if strict:
            STRICT.assertValid(root)
        cases = list(root.iter("testcase"))
        assert len(cases) <= 5000 and int(root.get("tests")) == len(cases)
        for suite in root:
            for name, tag in (("failures", "*/failure"), ("errors", "*/error"), ("skipped", "*/skipped")):
                assert int(suite.get(name)) == len(suite.findall(tag))
        assert [s.get("name") for s in root].count("(run)") == 1
        found.append(root)
    return found


@pytest.mark.parametrize("strict", [True, False])
def test_every_case_is_in_one_part_and_the_first_is_not_green(strict: bool) -> None:
    run = large(120, 100, 3)
    # What went wrong is in the last cells alone.
    good = [
        replace(c, cases=tuple(replace(r, verdict=Verdict.PASS) for r in c.cases)) for c in run.cells[:-2]
    ]
    run = replace(run, cells=(*good, *run.cells[-2:]), dead_axes=(replace(DEAD, variant="v1"),))
    found = parts(run, strict=strict)
    assert len(found) == 3
    told = [key for root in found for key in keys(root)]
    assert len(told) == len(set(told)) == 120 * 100 + 1
    assert [int(root.get("failures")) > 0 for root in found] == [True, False, False]
    assert ("v1", "(axis NOUUID)") in keys(found[0])
    suites = [s.get("name") for root in found for s in root if s.get("name") != "(run)"]
    assert len(suites) == len(set(suites)), "a cell's cases stay together"
    continued = [root.xpath("testsuite/properties/property[@name='continued']/@value") for root in found]
    assert continued == [["in part 2"], ["in part 3"], ["no"]]
    assert [root.get("name") for root in found] == [f"kmodpipe large, part {n}" for n in (1, 2, 3)]


def test_what_fits_is_one_file_as_ever() -> None:
    run = large(50, 100, 3)
    (file,) = junit.files(run)
    assert file == junit.text(run) and 'name="kmodpipe large"' in file and "continued" not in file


def test_a_cell_that_is_too_large_by_itself_is_cut() -> None:
    infos = tuple(CaseInfo(f"c{n}", "s", "g") for n in range(12_001))
    cases = tuple(
        CaseResult(i.id, Verdict.FAIL if n == 12_000 else Verdict.PASS, "m") for n, i in enumerate(infos)
    )
    run = Run(
        "r",
        "2020-10-13T12:00:00Z",
        infos,
        (CellResult("a", "unpatched", "none", state=State.RAN, cases=cases),),
    )
    found = parts(run, strict=True)
    assert len(found) == 4 and sum(len(keys(root)) for root in found) == 12_001
    assert [int(root.get("failures")) for root in found] == [1, 0, 0, 0]


def test_a_file_that_is_too_large_by_its_text_is_cut_too() -> None:
    infos = tuple(CaseInfo(f"c{n}", "s", "g") for n in range(40))
    cells = tuple(
        CellResult(
            f"cell-{c}", "unpatched", "none", state=State.RAN,
            properties={f"p{n}": "x" * 4000 for n in range(100)},
            cases=tuple(CaseResult(i.id, Verdict.PASS, "m") for i in infos),
        )
        for c in range(80)
    )  # fmt: skip
    assert len(parts(Run("r", "2020-10-13T12:00:00Z", infos, cells))) == 2


def test_parts_lie_beside_the_file_and_old_ones_go(tmp_path: Path) -> None:
    path = tmp_path / "out" / "junit.xml"
    written = junit.save(large(120, 100, 50), path)
    assert [p.name for p in written] == ["junit.xml", "junit-2.xml", "junit-3.xml"]
    assert junit_files.saved(path) == written
    (tmp_path / "given-3.xml").write_text("<mine/>")
    copied = junit_files.copy(path, tmp_path / "given.xml")
    assert [p.read_bytes() for p in copied] == [p.read_bytes() for p in written]
    (tmp_path / "given-4.xml").write_text("<mine/>")
    assert [p.name for p in junit.save(finished(), tmp_path / "given.xml")] == ["given.xml"]
    left = {p.name for p in tmp_path.glob("given*")}
    assert left == {"given.xml", "given-4.xml"}, "what is not ours stays"
    assert junit_files.saved(tmp_path / "none.xml") == ()


def test_what_is_the_same_everywhere_stands_once() -> None:
    run = replace(large(50, 20, 7), properties={"tree": "a tree of the run"})
    (file,) = junit.files(run)
    assert file.count("a tree of the run") == 1
    assert file.count(run.cases[3].summary) == len(run.cases) + sum(
        r.verdict is Verdict.FAIL for _, r in run.results()
    )


def test_a_suite_has_the_time_when_its_cell_began() -> None:
    root = etree.fromstring(junit.text(large(3, 2, 9)).encode())
    stamps = [s.get("timestamp") for s in root if s.get("name") != "(run)"]
    assert stamps == ["1970-01-01T00:00:00+00:00", "1970-01-01T00:00:01+00:00", "1970-01-01T00:00:03+00:00"]
    untimed = etree.fromstring(junit.text(finished()).encode())
    assert {s.get("timestamp") for s in untimed} == {finished().started}
