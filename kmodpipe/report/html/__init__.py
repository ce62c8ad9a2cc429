"""The report as one HTML file that needs no network, no server and no script.

    view           choose what the page shows of a run
    first          the first screen: numbers, and the cells in which something went wrong
    failures       a card for each distinct failure, with as much evidence as there is room for
    console        the lines of a guest's console around a failure
    evidence_diff  what a case showed without the series and with it
    patches        the patches, with what each case executed of them
    provenance     what really ran, in groups
    records        the parts of the page, as the templates get them
    report.*       the template, its style sheet and its script; parts.html, cards.html, more.html, common.js
    folded.*       the matrix of a run with too many results for one table

Pure except for `save`. Text from guests, logs and series is hostile: jinja2 escapes all of it, `shown` makes
illegal and invisible characters visible, links are always relative paths, and a content security policy
allows this file's own style and script and nothing else. The script filters, copies and scrolls: without
it the page is complete, but for single results that passed and for the cells' properties where there are too
many of them.
"""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from markupsafe import Markup

from kmodpipe.report import history
from kmodpipe.report.html.console import Read
from kmodpipe.report.html.failures import Files
from kmodpipe.report.html.shown import finalize
from kmodpipe.report.html.view import page_of
from kmodpipe.results import Run, cover_answer
from kmodpipe.results.cover_answer import Answer as CoverAnswer
from kmodpipe.util.errors import KmodpipeError
from kmodpipe.util.files import write_atomically

# Read at import and not when a run ends: by then another branch may be checked out.
_HERE = Path(__file__).parent
_TEMPLATES = {path.name: path.read_text("utf-8") for path in sorted(_HERE.glob("*.html"))}
_STYLE, _SCRIPT, _COMMON_SCRIPT, _FOLDED_SCRIPT = (
    (_HERE / name).read_text("utf-8") for name in ("report.css", "report.js", "common.js", "folded.js")
)
# The most of all consoles that one page is made of, and of what the cases execute.
_READ_BYTES, _COVER_BYTES = 64 * 1024 * 1024, 16 * 1024 * 1024


def text(
    run: Run,
    files: Files | None = None,
    past: Sequence[history.Past] = (),
    covered: CoverAnswer | None = None,
) -> str:
    """Return the HTML of the report.

    *files* says where the run's files are; by default beside the report, and their text is not included.
    *past* are the runs before it, *covered* is what its cases execute of the series.
    """
    return "".join(pieces(run, files, past, covered))


def pieces(
    run: Run,
    files: Files | None = None,
    past: Sequence[history.Past] = (),
    covered: CoverAnswer | None = None,
) -> Iterator[str]:
    """Yield the HTML of the report in pieces."""
    page = page_of(run, files or Files(), past, covered)
    style, script = Markup(_STYLE), Markup(_COMMON_SCRIPT + (_FOLDED_SCRIPT if page.folded else _SCRIPT))
    made: Iterator[str] = (
        _environment()
        .get_template("report.html")
        .generate(
            page=page,
            case_anchor={part.case: part.anchor for part in page.cases},
            style=style,
            style_hash=_hash(style),
            script=script,
            script_hash=_hash(script),
        )
    )
    return made


def page(template: str, style: str, **values: Any) -> str:
    """Return another page of a run, with the report's style sheet and *style*, escaped as the report is."""
    sheet = Markup(f"{_STYLE}{style}")
    made: str = _environment().from_string(template).render(style=sheet, style_hash=_hash(sheet), **values)
    return made


def prepare() -> None:
    """Compile the templates; else the first `save` does, in a tenth of a second."""
    for name in _TEMPLATES:
        _environment().get_template(name)


def save(run: Run, path: Path, folder: Path | None = None) -> None:
    """Write the report to *path* atomically. *folder* is the run's, by default the one that *path* is in."""
    base = os.path.relpath(folder, path.parent) if folder else ""
    home = folder or path.parent
    files = Files("" if base == "." else base, _reader(home))
    write_atomically(path, pieces(run, files, history.load(home, run), _covered(files)))


def _covered(files: Files) -> CoverAnswer | None:
    """Return what the cases execute of the series; None where it was not counted, or cannot be read."""
    data = files.read(cover_answer.FILE_NAME, 0, _COVER_BYTES)
    try:
        return cover_answer.from_json(data) if 0 < len(data) < _COVER_BYTES else None
    except KmodpipeError:
        return None


def _reader(folder: Path) -> Read:
    """Return a function that reads a part of a file below *folder*.

    For any other path it returns nothing: results may come from elsewhere and name any path. It stops after
    `_READ_BYTES`.
    """
    root = folder.resolve()
    left = _READ_BYTES

    def read(name: str, offset: int, size: int) -> bytes:
        nonlocal left
        path = (root / name).resolve()
        if not name or not path.is_relative_to(root) or not path.is_file():
            return b""
        try:
            with path.open("rb") as f:
                f.seek(max(f.seek(0, os.SEEK_END) + offset, 0) if offset < 0 else offset)
                data = f.read(min(size, left))
        except OSError:
            return b""
        left -= len(data)
        return data

    return read


@cache
def _environment() -> Any:
    import jinja2

    return jinja2.Environment(
        loader=jinja2.DictLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=finalize,
        trim_blocks=True,
    )


def _hash(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
