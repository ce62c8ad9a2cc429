"""junit.xml, read back with lxml, a strict schema and junitparser."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import junitparser
import pytest
from lxml import etree

from kmodpipe import results
from kmodpipe.judge import attempts
from kmodpipe.judge.retries import RetryPolicy
from kmodpipe.report import junit
from kmodpipe.results import CaseResult, CellResult, Run, Span, State, Verdict
from tests.support import DATA
from tests.support.hostile import HOSTILE
from tests.support.sample_run import DEAD, INFOS, PARTLY, SKELETON, cell, change, failed, finished, seen

STRICT = etree.XMLSchema(etree.parse(DATA / "junit-strict.xsd"))
Y_Y = "index-nouuid.INDEX=y.NOUUID=y"


def parsed(run: Run) -> etree._Element:
    """The file as a reader with default limits gets it: the strict one valid under the schema, the other the
    same without what it has more; sums checked."""
    root, rich = (etree.fromstring(junit.text(run, strict=strict).encode()) for strict in (True, False))
    STRICT.assertValid(root)
    for more in rich.xpath("//testcase/properties | //flakyFailure | //rerunFailure"):
        more.getparent().remove(more)
    etree.indent(rich, " ")
    assert etree.tostring(rich, method="c14n") == etree.tostring(root, method="c14n")
    for suite in root:
        for name, tag in (("tests", "testcase"), ("failures", "*/failure"), ("errors", "*/error")):
            assert int(suite.get(name)) == len(suite.findall(tag)), (suite.get("name"), name)
        times = sum(float(c.get("time")) for c in suite.findall("testcase"))
        assert float(suite.get("time")) == pytest.approx(times, abs=1e-9)
    for name in ("tests", "failures", "errors"):
        assert int(root.get(name)) == sum(int(s.get(name)) for s in root)
    first = root[0]
    assert (first.get("name"), first.get("tests")) == ("(run)", "0")
    root.remove(first)
    return root


def one(root: etree._Element, cell_id: str, case: str) -> etree._Element:
    (found,) = root.xpath("testsuite/testcase[@classname=$cell and @name=$case]", cell=cell_id, case=case)
    return found


def test_the_sample() -> None:
    root = parsed(change(finished(), Y_Y, failed(2, "ESTALE", "mounted")))
    assert [s.get("name") for s in root] == [c.cell for c in SKELETON.cells]
    assert len(root.findall("*/testcase")) == 28
    assert len(root.findall("*/*/failure")) == 1 and not root.findall("*/*/error")
    assert len(root.findall("*/*/skipped")) == 2 * 4 + 2
    failure = one(root, Y_Y, INFOS[2].id).find("failure")
    assert failure.get("message") == "expected mounted, observed ESTALE: the origin's UUID is verified"
    lines = failure.text.splitlines()
    assert lines[0] == failure.get("message")
    assert lines[1] == f"repeat: invoke test --series index-nouuid --cell {Y_Y} --case {INFOS[2].id}"
    assert "boot script: cells/index-nouuid/reproduce.sh" in lines and "ended: exit 0" in lines
    assert one(root, Y_Y, INFOS[2].id).findtext("system-err").startswith("overlayfs: failed to verify origin")
    properties = {p.get("name"): p.get("value") for p in root[-1].iter("property")}
    assert "tree" not in properties and properties["accel"] == "tcg"
    assert properties["repeat"] == f"invoke test --series index-nouuid --cell {Y_Y}"
    assert properties["axis.NOUUID"] == "y" and properties["state"] == "ran"
    assert properties[f"effect.{INFOS[1].id}"] == "fixed: EINVAL → mounted"


def rich(run: Run, cell_id: str, case: str) -> etree._Element:
    return one(etree.fromstring(junit.text(run).encode()), cell_id, case)


def test_the_default_profile_has_properties_of_each_case() -> None:
    run = replace(finished(), properties={"repeat-with": "invoke test --tree ~/linux"})
    case = rich(change(run, Y_Y, replace(failed(2, "ESTALE", "mounted"), guest=1)), Y_Y, INFOS[2].id)
    assert case[0].tag == "properties"
    values = {p.get("name"): p.get("value") for p in case[0]}
    assert values["expected"] == "mounted" and values["observed"] == "ESTALE" and values["goal-met"] == "no"
    assert (
        values["repeat"]
        == f"invoke test --tree ~/linux --series index-nouuid --cell {Y_Y} --case {INFOS[2].id}"
    )
    assert values["full console"] == "cells/index-nouuid/console.log"
    defect = rich(run, Y_Y, INFOS[3].id)
    assert {"known-defect": "yes"}.items() <= {p.get("name"): p.get("value") for p in defect[0]}.items()


def tried(*verdicts: Verdict) -> CaseResult:
    runs = tuple(
        replace(failed(2, "ESTALE", "mounted"), verdict=v, message=f"m{n}", guest=n)
        for n, v in enumerate(verdicts, 1)
    )
    return attempts.merge(runs, RetryPolicy(attempts=len(runs)))


def test_attempts_are_marked_as_surefire_does_and_flaky_is_still_a_failure() -> None:
    flaky = rich(change(finished(), Y_Y, tried(Verdict.FAIL, Verdict.PASS)), Y_Y, INFOS[2].id)
    assert [e.tag for e in flaky][:3] == ["properties", "failure", "flakyFailure"]
    assert flaky.find("failure").get("type") == "flaky"
    assert flaky.find("flakyFailure").get("message") == "m1"
    steady = rich(change(finished(), Y_Y, tried(*[Verdict.FAIL] * 3)), Y_Y, INFOS[2].id)
    assert [e.get("message") for e in steady.findall("rerunFailure")] == ["m2", "m3"]
    assert steady.find("flakyFailure") is None


def test_a_case_points_to_the_files_of_its_own_guest() -> None:
    files = {
        name: f"c/{name}" for name in ("console.log", "console-3.log", "reproduce-3.sh", "verdict-3.log")
    }
    there = CellResult("c", "unpatched", "none", artifacts=files)
    assert junit.files_of(there, replace(failed(0, "x", "y"), guest=3)) == {
        "full console": "c/console-3.log",
        "verdict stream": "c/verdict-3.log",
        "boot script": "c/reproduce-3.sh",
    }


def test_an_expected_bug_of_the_control_passes_and_says_so() -> None:
    case = one(parsed(finished()), "unpatched.INDEX=y.NOUUID=n", INFOS[0].id)
    assert [child.tag for child in case] == ["system-out"]
    out = case.findtext("system-out")
    assert out == "observed ESTALE as expected: the origin's UUID is verified"
    defect = one(parsed(finished()), Y_Y, INFOS[3].id)
    assert "known issue: yes" in defect.findtext("system-out")
    # A message that does not say it is followed by what it leaves out.
    terse = change(finished(), Y_Y, replace(seen(0, "ESTALE"), message="fine"))
    lines = one(parsed(terse), Y_Y, INFOS[0].id).findtext("system-out").splitlines()
    assert lines == ["fine", "observed: ESTALE", "expected: ESTALE", "why: the origin's UUID is verified"]


def test_a_suite_has_the_time_of_its_own_cell() -> None:
    spans = (Span("module", Y_Y, 50, 3), Span("test", Y_Y, 100, 7.5), Span("test", Y_Y, 200, 2.25))
    root = etree.fromstring(junit.text(replace(finished(), timeline=spans)).encode())
    suites = {s.get("name"): s for s in root}
    assert suites[Y_Y].get("time") == "9.750", "of both guests, with their boots"
    assert suites[Y_Y].get("timestamp") == "1970-01-01T00:01:40+00:00"
    other = suites["index-nouuid.INDEX=y.NOUUID=n"]
    assert other.get("time") == "5.000", "of a cell whose test is not in the timeline, that of its cases"
    assert float(root.get("time")) == pytest.approx(sum(float(s.get("time")) for s in root))


def test_what_passed_takes_little_room() -> None:
    """What it printed, its evidence and the kernel's messages are in results.json; a failure has it all."""
    much = "a line that a case printed\n" * 200
    loud = replace(seen(0, "ESTALE"), output_excerpt=much, evidence=much, kmsg=(much,))
    quiet = len(junit.text(finished()))
    assert len(junit.text(change(finished(), Y_Y, loud))) == quiet
    bad = replace(failed(0, "EIO", "ESTALE"), output_excerpt=much, evidence=much, kmsg=(much,))
    assert len(junit.text(change(finished(), Y_Y, bad))) > quiet + 3 * len(much)
    properties = {p.get("name"): p.get("value") for p in parsed(finished())[-1].iter("property")}
    effects = {name: value for name, value in properties.items() if name.startswith("effect.")}
    assert list(effects) == [f"effect.{INFOS[n].id}" for n in (3, 1, 2)], "what changed, and no more"


def test_a_dead_axis_is_one_failure_of_its_variant() -> None:
    root = parsed(replace(finished(), dead_axes=(DEAD, PARTLY)))
    assert [s.get("name") for s in root][-1] == "index-nouuid"
    (failure,) = one(root, "index-nouuid", "(axis NOUUID)")
    assert failure.tag == "failure" and failure.get("message") == DEAD.message
    assert DEAD.clues[0] in failure.text.splitlines()
    assert f"the same module: {', '.join(DEAD.cells[0])}" in failure.text.splitlines()
    assert root.get("tests") == "29" and root.get("failures") == "1"
    assert len(parsed(replace(finished(), dead_axes=(PARTLY,)))) == len(SKELETON.cells)


def test_junitparser_reads_the_same(tmp_path: Path) -> None:
    run = change(finished(), Y_Y, failed(2, "ESTALE", "mounted"))
    junit.save(run, tmp_path / "junit.xml")
    xml = junitparser.JUnitXml.fromfile(str(tmp_path / "junit.xml"))
    assert (xml.tests, xml.failures, xml.errors) == (28, 1, 0)
    kinds = {"pass": 0, "fail": 0, "error": 0, "skip": 0}
    for suite in xml:
        for case in suite:
            tag = type(case.result[0]).__name__ if case.result else "pass"
            kinds[{"Failure": "fail", "Error": "error", "Skipped": "skip"}.get(tag, "pass")] += 1
    counts = results.totals(run)
    assert kinds == {k: counts[k] for k in kinds}


@pytest.mark.parametrize("message", ["", "  \n ", "\x00", "a\n\nb", "tab\t", "long " * 9999])
@pytest.mark.parametrize("verdict", [Verdict.FAIL, Verdict.ERROR, Verdict.SKIP])
def test_no_failure_is_ever_dropped(verdict: Verdict, message: str) -> None:
    root = parsed(change(finished(), Y_Y, CaseResult(INFOS[0].id, verdict, message)))
    tag = {Verdict.FAIL: "failure", Verdict.ERROR: "error", Verdict.SKIP: "skipped"}[verdict]
    (element,) = one(root, Y_Y, INFOS[0].id)
    assert element.tag == tag and element.get("message").strip()
    if not message.strip():
        assert element.get("message").endswith("no message was recorded")


@pytest.mark.parametrize(
    ("state", "tag"),
    [
        (State.SKIPPED, "skipped"),
        (State.BUILD_FAILED, "failure"),
        (State.INFRA, "error"),
        (State.INTERRUPTED, "error"),
        (State.NOT_RUN, "error"),
    ],
)
def test_a_cell_that_did_not_run_says_so_for_each_case(state: State, tag: str) -> None:
    bad = cell("index-nouuid", "y", "y", state=state, reason="inode.c:7: error: no such thing")
    root = parsed(results.with_cell(finished(), bad))
    cases = root[-1].findall("testcase")
    assert [[e.tag for e in c] for c in cases] == [[tag]] * 4
    assert all("inode.c:7" in c[0].get("message") for c in cases)
    # And where no case was planned, the cell still says it, unless it is skipped.
    (suite,) = parsed(Run("r", "2020-10-13T12:00:00Z", (), (bad,)))
    assert [e.tag for c in suite.findall("testcase") for e in c] == ([] if tag == "skipped" else [tag])


def test_hostile_text_is_shown_and_harmless() -> None:
    bad = CaseResult(
        INFOS[0].id, Verdict.FAIL, HOSTILE, HOSTILE, HOSTILE, HOSTILE, evidence=HOSTILE,
        output_excerpt=HOSTILE, kmsg=(HOSTILE,), observations={HOSTILE: HOSTILE},
    )  # fmt: skip
    run = change(finished(), Y_Y, bad)
    run = replace(run, properties={HOSTILE: HOSTILE}, id=HOSTILE)
    root = parsed(run)
    case = one(root, Y_Y, INFOS[0].id)
    texts = [str(t) for t in root.xpath("//text() | //@*")]
    assert not any(c in t for t in texts for c in "\x00\x1b\r\u202e\ufffe\x85")
    assert not any("[[ATTACHMENT" in "".join(t.split()).upper() for t in texts if "[ [" not in t)
    assert not any("[[" in t for t in texts)
    failure = case.find("failure")
    assert "a\\x00b\\x1b[31mc\\udc80d\\ufffee]]>&<f" in failure.text
    assert "[ [ATTACHMENT|/etc/passwd]]" in failure.text
    assert case.findtext("system-out").startswith("a\\x00b")


def test_200_mb_of_output_costs_little() -> None:
    huge = "head\n" + "x\x00y]]>\n" * 25_000_000 + "tail"
    assert len(huge) > 170_000_000
    bad = replace(
        failed(2, "ESTALE", "mounted"), output_excerpt=huge, evidence=huge, message="short\n" + huge
    )
    began = time.process_time()
    root = parsed(change(finished(), Y_Y, bad))
    assert time.process_time() - began < 5
    out = one(root, Y_Y, INFOS[2].id).findtext("system-out")
    assert out.startswith("head\n") and out.endswith("tail") and "characters left out" in out
    err = replace(bad, kmsg=("z" * 100_000,))
    cut = one(parsed(change(finished(), Y_Y, err)), Y_Y, INFOS[2].id).findtext("system-err")
    assert "left out, the whole is in cells/index-nouuid/console.log …]" in cut
    assert len(out) < 6 * junit.TEXT_LIMIT
    assert one(root, Y_Y, INFOS[2].id).find("failure").get("message") == "short"


def test_a_large_run_stays_under_the_limits_of_readers() -> None:
    infos = tuple(replace(INFOS[0], id=f"case-{i}") for i in range(100))
    text = "z" * 70_000
    cells = []
    for i in range(50):
        cases = tuple(
            CaseResult(
                info.id,
                Verdict.FAIL if n % 10 == 0 else Verdict.PASS,
                text,
                output_excerpt=text,
                kmsg=(text,),
            )
            for n, info in enumerate(infos)
        )
        cells.append(CellResult(f"c{i}", "unpatched", "none", state=State.RAN, cases=cases))
    file = junit.text(Run("big", "2020-10-13T12:00:00Z", infos, tuple(cells)))
    assert len(file.encode()) < 20_000_000
    assert len(etree.fromstring(file.encode()).findall("*/testcase")) == 5000
