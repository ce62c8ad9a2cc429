"""The files that JUnit suites are written to: one, or parts that their readers take.

GitLab takes 5,000 cases and 20 MB a file. The parts of ``junit.xml`` are itself, ``junit-2.xml`` and so on.
"""

from __future__ import annotations

import itertools
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from kmodpipe.report.junit_suites import run_suite
from kmodpipe.report.junit_text import name_of
from kmodpipe.results import Run
from kmodpipe.util.files import write_atomically

MOST_CASES, MOST_BYTES = 5000, 19_000_000
"""What a reader takes in one file."""
# Where the name of a file's run stands.
_HEAD_BYTES = 4096


def assemble(run: Run, suites: Iterable[ET.Element], *, split: bool) -> Iterator[str]:
    """Yield the text of each file; without *split* there is one, of any size.

    Suites stay whole where they fit.
    """
    # What each part begins with, a property for every case.
    head = len(ET.tostring(run_suite(run, {}).build_xml_doc()))
    number, cases, size = 1, 0, head
    held: list[_Written] = []
    for suite in suites:
        for one in _pieces(suite) if split else [_written(suite)]:
            if split and held and (cases + one.cases > MOST_CASES or size + one.size > MOST_BYTES):
                yield _file(run, held, number, last=False)
                number, cases, size, held = number + 1, 0, head, []
            held.append(one)
            cases, size = cases + one.cases, size + one.size
    yield _file(run, held, number, last=True)


@dataclass(frozen=True)
class _Written:
    """A suite, or a piece of one, as it stands in a file; without its elements, which take far more room."""

    text: str
    # In bytes.
    size: int
    cases: int
    failures: int
    errors: int
    seconds: float


def _written(suite: ET.Element) -> _Written:
    ET.indent(suite, space=" ", level=1)
    text = ET.tostring(suite, encoding="unicode")
    tests, failures, errors = (int(suite.get(name, "0")) for name in ("tests", "failures", "errors"))
    seconds = float(suite.get("time", "0"))
    return _Written(text, len(text.encode()), tests, failures, errors, seconds)


def _pieces(suite: ET.Element) -> Iterator[_Written]:
    """Yield a suite, in halves until none has more than `MOST_CASES` cases or is too large; what went wrong
    comes first."""
    whole = _written(suite)
    if whole.cases < 2 or (whole.cases <= MOST_CASES and whole.size <= MOST_BYTES):
        yield whole
        return
    cases = suite.findall("testcase")
    cases.sort(key=lambda case: case.find("failure") is None and case.find("error") is None)
    for own in (cases[: len(cases) // 2], cases[len(cases) // 2 :]):
        half = ET.Element("testsuite", suite.attrib)
        half.extend([*suite.findall("properties"), *own])
        half.set("tests", str(len(own)))
        for name, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
            half.set(name, str(sum(case.find(tag) is not None for case in own)))
        half.set("time", f"{sum(float(case.get('time', '0')) for case in own):.3f}")
        yield from _pieces(half)


def _file(run: Run, held: Sequence[_Written], number: int, *, last: bool) -> str:
    """Return one file; the first suite in it has the properties of the run."""
    whole = number == 1 and last
    part = {} if whole else {"part": str(number), "continued": "no" if last else f"in part {number + 1}"}
    first = run_suite(run, part).build_xml_doc()
    ET.indent(first, space=" ", level=1)
    title = f"kmodpipe {run.id}" if whole else f"kmodpipe {run.id}, part {number}"
    root = ET.Element("testsuites", {"name": name_of(title)})
    root.set("tests", str(sum(one.cases for one in held)))
    root.set("failures", str(sum(one.failures for one in held)))
    root.set("errors", str(sum(one.errors for one in held)))
    root.set("time", f"{sum(one.seconds for one in held):.3f}")
    opening = ET.tostring(root, encoding="unicode").removesuffix(" />")
    body = "\n ".join([ET.tostring(first, encoding="unicode"), *(one.text for one in held)])
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{opening}>\n {body}\n</testsuites>\n'


def save(path: Path, files: Iterable[str]) -> tuple[Path, ...]:
    """Write the files to *path* and beside it, each atomically; return their paths.

    Parts of an earlier and larger run are removed.
    """
    written = []
    for number, file in enumerate(files, 1):
        written.append(_part_path(path, number))
        write_atomically(written[-1], file)
    _remove_parts(path, len(written) + 1)
    return tuple(written)


def saved(path: Path) -> tuple[Path, ...]:
    """Return the files that `save` left at *path*, in order; none if there is no such file."""
    paths = itertools.chain([path], (_part_path(path, number) for number in itertools.count(2)))
    return tuple(itertools.takewhile(Path.is_file, paths))


def copy(path: Path, target: Path) -> tuple[Path, ...]:
    """Copy the files at *path* to *target* and beside it as `save` would; return the new ones."""
    return save(target, (part.read_text("utf-8") for part in saved(path)))


def _part_path(path: Path, number: int) -> Path:
    return path if number == 1 else path.with_name(f"{path.stem}-{number}{path.suffix}")


def _remove_parts(path: Path, first: int) -> None:
    """Remove parts from number *first* on, those of us alone: a file of such a name may be the user's."""
    for number in itertools.count(max(first, 2)):
        part = _part_path(path, number)
        try:
            with part.open("rb") as f:
                ours = re.search(rb'<testsuites name="kmodpipe [^"]*, part \d+"', f.read(_HEAD_BYTES))
        except OSError:
            return
        if not ours:
            return
        part.unlink()
