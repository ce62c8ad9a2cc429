"""Write what the cells of a series executed as other programs read it: lcov and Cobertura, made by gcovr.

gcovr gets its own JSON format for input, of the version that it writes itself: the union over the cells.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from kmodpipe.analysis.cover.gcov_json import all_lines, sum_of
from kmodpipe.results.coverage import CellCoverage, FileCounts, FileLines
from kmodpipe.util import process
from kmodpipe.util.document import read_object
from kmodpipe.util.errors import InfraError
from kmodpipe.util.files import write_atomically

LCOV, COBERTURA = "coverage.info", "coverage.xml"
_TIMEOUT_S = 300.0
_CHECKSUM = re.compile(r"^(DA:\d+,\d+),.*$", re.MULTILINE)


def write(cells: Iterable[CellCoverage], tree: Path, folder: Path, scratch: Path) -> tuple[Path, Path]:
    """Write `LCOV` and `COBERTURA` into a run's folder, and return their paths.

    ``tree`` has the source files as the series leaves them: names are relative to it. Raise InfraError if
    gcovr fails.
    """
    tracefile = scratch / "tracefile.json"
    tracefile.write_text(json.dumps(document(cells, _format_version(scratch))), encoding="utf-8")
    lcov, cobertura = folder / LCOV, folder / COBERTURA
    _gcovr(
        scratch, "--root", str(tree), "--json-add-tracefile", str(tracefile),
        "--lcov", str(lcov), "--cobertura", str(cobertura),
    )  # fmt: skip
    # Where the tree is on this machine is no business of a reader on another.
    _edit(cobertura, lambda text: text.replace(f"<source>{tree}</source>", "<source>.</source>"))
    # Behind the count stands the checksum of a line, of which gcovr knows none here.
    relative = f"SF:{tree}/"
    _edit(lcov, lambda text: _CHECKSUM.sub(r"\1", text.replace(relative, "SF:")))
    return lcov, cobertura


def _edit(path: Path, change: Callable[[str], str]) -> None:
    write_atomically(path, change(path.read_text("utf-8")))


def _format_version(scratch: Path) -> str:
    """Return the version of the format that the installed gcovr writes, and reads no other."""
    empty = scratch / "empty"
    empty.mkdir()
    _gcovr(scratch, "--root", str(empty), "--json", str(empty / "made.json"), str(empty))
    return str(read_object(empty / "made.json")["gcovr/format_version"])


def _gcovr(scratch: Path, *arguments: str) -> None:
    # A gcovr.cfg of the user's folder, or of the tree, has no say.
    none = scratch / "gcovr.cfg"
    none.touch()
    argv = [sys.executable, "-m", "gcovr", "--config", str(none), *arguments]
    done = process.run(argv, timeout_s=_TIMEOUT_S, check=False)
    if done.returncode != 0:
        raise InfraError(
            f"gcovr {process.describe_status(done.returncode)}",
            where=process.pasteable(argv),
            detail=done.tail,
            hint="is it installed as kmodpipe asks for it? pip install 'gcovr>=8.3,<9'",
        )


def document(cells: Iterable[CellCoverage], version: str) -> Mapping[str, Any]:
    """Return what gcovr reads: of each file the union of what the cells have and executed."""
    cells = [*cells]
    names = sorted({name for one in cells for name in one.files})
    return {"gcovr/format_version": version, "files": [_file(name, cells) for name in names]}


def _file(name: str, cells: Iterable[CellCoverage]) -> Mapping[str, Any]:
    lines = all_lines(one.files[name] for one in cells if name in one.files)
    counts = sum_of(case.files[name] for one in cells for case in one.cases.values() if name in case.files)
    return {
        "file": name,
        "lines": [
            {
                "line_number": number,
                "count": counts.lines.get(number, 0),
                "branches": _branches(number, lines, counts),
            }
            for number in lines.lines
        ],
        "functions": [
            {
                "name": function,
                "lineno": place.first,
                "execution_count": counts.functions.get(function, 0),
                "blocks_percent": 100.0 if counts.functions.get(function) else 0.0,
            }
            for function, place in lines.functions.items()
        ],
    }


def _branches(number: int, lines: FileLines, counts: FileCounts) -> list[Mapping[str, Any]]:
    ways = counts.branches.get(number, ())
    return [
        {
            "branchno": at,
            "count": ways[at] if at < len(ways) else 0,
            "fallthrough": False,
            "throw": False,
        }
        for at in range(lines.branches.get(number, 0))
    ]
