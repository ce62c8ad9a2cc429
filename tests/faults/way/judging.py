"""What has to hold of a command that met a fault, and of the results that it left, however it ended."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from xml.etree import ElementTree

from kmodpipe import results
from kmodpipe.results import Run, Verdict
from kmodpipe.util.errors import UserError
from tests.faults import Ended, Outcome, Scene

# The run of two cells, and what comes of it where nothing disturbs it.
CELLS = "*.INDEX=y.NOUUID=n"
COMMAND = ("test", "--cell", CELLS)
EXPECTED = {
    ("unpatched.INDEX=y.NOUUID=n", "remount"): (Verdict.PASS, "ESTALE"),
    ("toy-fix.INDEX=y.NOUUID=n", "remount"): (Verdict.PASS, "mounted"),
}


# -- a command ---------------------------------------------------------------------------------------
def problems(
    got: Ended, code: int, *sentences: str, hint: bool = False, never: Iterable[str] = ()
) -> list[str]:
    """What speaks against the way a command ended: its exit code, a sentence that is missing, a traceback."""
    found = [f"exit code {got.code}, not {code}"] if got.code != code else []
    shown = " ".join(got.text.split())
    found += [f"does not say {text!r}" for text in sentences if text not in shown]
    found += ["gives no hint"] if hint and "hint:" not in got.text else []
    # A traceback of a program that was run is evidence, and stands behind a bar.
    wrong = ("a defect in kmodpipe", "\nTraceback (most recent call last)", "Exception ignored", *never)
    found += [f"says {text!r}" for text in wrong if text in got.text]
    return [f"{text}: {got.text[-800:]}" for text in found[:1]] + found[1:]


def outcome(got: Ended, kept: str, *found: Sequence[str]) -> Outcome:
    """What came of a fault: how the command under it ended, and all that speaks against it."""
    return Outcome(got.sentence(), got.code, kept, tuple(p for some in found for p in some))


# -- the results -------------------------------------------------------------------------------------
def latest(scene: Scene) -> Run:
    return results.load(scene.latest / "results.json")


def verdicts(run: Run) -> dict[tuple[str, str], tuple[Verdict, str]]:
    return {(cell.cell, case.case): (case.verdict, case.outcome) for cell, case in run.results()}


def whole(scene: Scene) -> Iterator[str]:
    """What is wrong with the results of every run of `COMMAND` there is, killed ones too; a part of a file, a
    planned case that is missing, a pass that was not one, an unfinished run that reads as success."""
    for folder in sorted(scene.out.glob("2*")):
        with suppress(FileNotFoundError):
            ElementTree.fromstring((folder / "junit.xml").read_bytes())
            if not (folder / "results.json").exists():
                yield f"{folder.name} has junit.xml and no results.json"
        if not (folder / "results.json").exists():
            continue
        try:
            found = results.load(folder / "results.json")
        except UserError as e:
            yield f"{folder.name}: {e.what}"
            continue
        told = json.loads((folder / "results.json").read_text())["exit_code"]
        if verdicts(found).keys() != EXPECTED.keys():
            yield f"{folder.name}: planned cases are missing"
        for case, (verdict, observed) in verdicts(found).items():
            if verdict is not Verdict.ERROR and (verdict, observed) != EXPECTED.get(case):
                yield f"{folder.name}: {case} {verdict} {observed}"
        if told == 0 and (not found.finished or verdicts(found) != EXPECTED):
            yield f"{folder.name}: an unfinished run reads as success"
    link = scene.out / "latest"
    if link.is_symlink() and not (link / "results.json").exists():
        yield "latest points nowhere"


def complete(scene: Scene, done: Ended) -> list[str]:
    """What is wrong with a run of `COMMAND` that was not disturbed."""
    if found := problems(done, 0):
        return found
    return [] if verdicts(latest(scene)) == EXPECTED else ["the verdicts are not the right ones"]
