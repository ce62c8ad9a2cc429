"""The report as one HTML file that needs no network, no server and no script.

    view       choose what the page shows of a run
    failures   the section on failures, with as much evidence as there is room for
    records    the parts of the page, as the template gets them
    report.*   the template, its style sheet and its script

Pure except for `save`. Text from guests, logs and series is hostile: jinja2 escapes all of it, `_shown` makes
illegal and invisible characters visible, links are always relative paths, and a content security policy
allows this file's own style and script and nothing else. The script only filters: without it the page is
complete.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from markupsafe import Markup

from kmodpipe.report.html.failures import Files
from kmodpipe.report.html.view import page_of
from kmodpipe.results import Run
from kmodpipe.util.files import write_atomically
from kmodpipe.util.text import visible_lines

# Read at import and not when a run ends: by then another branch may be checked out.
_TEMPLATE, _STYLE, _SCRIPT = (
    (Path(__file__).parent / f"report.{kind}").read_text("utf-8") for kind in ("html", "css", "js")
)
_TAIL_BYTES = 4096
# Code points that are not allowed in HTML: the noncharacters of every Unicode plane (HTML standard, 13.1).
_PLANES = "".join(chr(plane << 16 | low) for plane in range(17) for low in (0xFFFE, 0xFFFF))
_NONCHARACTERS = re.compile(f"[\ufdd0-\ufdef{_PLANES}]")


def text(run: Run, files: Files | None = None) -> str:
    """Return the HTML of the report.

    *files* says where the run's files are; by default beside the report, and their text is not included.
    """
    style, script = Markup(_STYLE), Markup(_SCRIPT)
    page = page_of(run, files or Files())
    made: str = (
        _environment()
        .get_template("report.html")
        .render(
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


def save(run: Run, path: Path, folder: Path | None = None) -> None:
    """Write the report to *path* atomically. *folder* is the run's, by default the one that *path* is in."""
    base = os.path.relpath(folder, path.parent) if folder else ""
    write_atomically(path, text(run, Files("" if base == "." else base, _reader(folder or path.parent))))


def _reader(folder: Path) -> Callable[[str], str]:
    """Return a function that reads the end of a file below *folder*.

    For any other path it returns an empty string: results may come from elsewhere and name any path.
    """
    root = folder.resolve()

    def tail(name: str) -> str:
        path = (root / name).resolve()
        if not name or not path.is_relative_to(root) or not path.is_file():
            return ""
        try:
            with path.open("rb") as f:
                f.seek(max(f.seek(0, os.SEEK_END) - _TAIL_BYTES, 0))
                return f.read(_TAIL_BYTES).decode("utf-8", "replace").replace("\r\n", "\n")
        except OSError:
            return ""

    return tail


@cache
def _environment() -> Any:
    import jinja2

    return jinja2.Environment(
        loader=jinja2.DictLoader({"report.html": _TEMPLATE}),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
    )


def _hash(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _shown(value: Any) -> Any:
    """Return *value* with illegal and invisible characters made visible; markup and other types stay."""
    if not isinstance(value, str) or isinstance(value, Markup):
        return value
    return _NONCHARACTERS.sub(lambda m: f"\\u{ord(m.group()):04x}", visible_lines(value))
