"""The report as one HTML file that needs no network, no server and no script.

    view       what of a run the page shows
    failures   what went wrong, with as much evidence as there is room for
    records    the parts of the page, as the template gets them
    report.*   the template, its style and its script

Pure but for `save`. Text from guests, logs and series is hostile: jinja2 escapes all of it, `_shown` makes
illegal and invisible characters visible, links are relative paths whatever they say, and a content security
policy allows this file's own style and script and nothing else. The script filters; without it everything is
there all the same.
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

# Read now and not when a run ends: by then another branch may be checked out.
_TEMPLATE, _STYLE, _SCRIPT = (
    (Path(__file__).parent / f"report.{kind}").read_text("utf-8") for kind in ("html", "css", "js")
)
_TAIL_BYTES = 4096
# What no HTML file may hold: the noncharacters of every plane.
_PLANES = "".join(chr(plane << 16 | low) for plane in range(17) for low in (0xFFFE, 0xFFFF))
_NONCHARACTERS = re.compile(f"[\ufdd0-\ufdef{_PLANES}]")


def text(run: Run, files: Files | None = None) -> str:
    """The whole file; ``files`` are the run's, if not beside it and unread."""
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


def save(run: Run, path: Path, folder: Path | None = None) -> None:
    """Write the file whole or not at all; ``folder`` is the run's, if not the one that ``path`` is in."""
    base = os.path.relpath(folder, path.parent) if folder else ""
    write_atomically(path, text(run, Files("" if base == "." else base, _reader(folder or path.parent))))


def _reader(folder: Path) -> Callable[[str], str]:
    """Reads the ends of files below ``folder`` and of no others: results can come from anywhere."""
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
    """Text as it may stand in the file; what is markup already, and what is no text, stays."""
    if not isinstance(value, str) or isinstance(value, Markup):
        return value
    return _NONCHARACTERS.sub(lambda m: f"\\u{ord(m.group()):04x}", visible_lines(value))
