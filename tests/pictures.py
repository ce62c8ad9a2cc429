"""Make the pictures of docs/pictures/ from a real run: python -m tests.pictures [--run OUT/RUN].

session.svg is the terminal of ``invoke test`` on this machine, line by line as it came, eight seconds long;
where pictures do not move, it is its last state. report-light.png and report-dark.png are the first screen of
that run's report.html in a headless Chromium. With ``--run`` the report of that run is taken, and the session
stays as it is.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import tempfile
import time
from itertools import groupby
from pathlib import Path

import pyte
from rich.color import Color
from rich.console import Console
from rich.style import Style
from rich.terminal_theme import TerminalTheme
from rich.text import Text

from tests.support import REPO
from tests.support.browser import browser
from tests.support.terminal import Terminal

PICTURES = REPO / "docs/pictures"
COMMAND = "invoke test --case '*remount*nouuid*'"
COLUMNS, ROWS, SHOWN = 104, 300, 44
SECONDS = 8.0
SIZE = (1280, 800)
DARK = TerminalTheme(
    (16, 24, 28), (214, 222, 224),
    [(40, 52, 58), (255, 122, 100), (94, 214, 150), (240, 196, 96), (120, 170, 255), (206, 150, 240),
     (96, 206, 210), (214, 222, 224)],
)  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--run", type=Path, help="the folder of a run whose report is taken")
    given = parser.parse_args()
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="kmodpipe-pictures-") as made:
        run = given.run or record(Path(made))
        report(run / "report.html")
    for path in sorted(PICTURES.iterdir()):
        print(f"{path.stat().st_size:8,d}  {path.relative_to(REPO)}")
    return 0


# -- the session ------------------------------------------------------------------------------------
def record(out: Path) -> Path:
    """Run the command on a terminal, write session.svg, and return the run's folder."""
    words = COMMAND.replace("'", "").split()
    argv = [sys.executable, "-m", *words, "--out", str(out)]
    screen = pyte.Screen(COLUMNS, ROWS)
    stream = pyte.ByteStream(screen)
    seen: dict[int, tuple[str, float]] = {}
    terminal = Terminal(argv, REPO, {**os.environ, "COLORTERM": ""}, columns=COLUMNS, lines=ROWS)
    began, read = time.monotonic(), 0
    while True:
        ended = terminal.child.poll() is not None
        terminal.mark()
        stream.feed(terminal.raw[read:])
        read = len(terminal.raw)
        for row, line in enumerate(screen.display):
            if seen.get(row, ("",))[0] != line:
                seen[row] = (line, time.monotonic() - began)
        if ended:
            break
        time.sleep(0.05)
    terminal.close()
    last = max((row for row, (line, _) in seen.items() if line.strip()), default=0)
    rows = [row for row in range(last + 1) if not _passing(screen.display[row])]
    texts = [_text(screen, row) for row in rows]
    times = [seen[row][1] if row in seen else 0.0 for row in rows]
    texts = [
        Text(re.sub(rf"\S*{out.name}", "out", one.plain)) if out.name in one.plain else one for one in texts
    ]
    _draw(texts[-SHOWN:], times[-SHOWN:])
    (run,) = (path for path in out.iterdir() if path.is_dir() and not path.is_symlink())
    return run


def _passing(line: str) -> bool:
    """Whether a line is of no interest in a picture: this machine's speed, a step that begins, times."""
    return bool(
        re.match(
            r"this machine's speed|\s+→ |\s+\d+ of \d+ cells|slowest:|.*limits are ×[\d.]+\s*$|\s+[\d.]+ s  ",
            line,
        )
    )


def _text(screen: pyte.Screen, row: int) -> Text:
    text = Text()
    cells = [screen.buffer[row][column] for column in range(COLUMNS)]
    for (fg, bold, italic, reverse), same in groupby(cells, lambda c: (c.fg, c.bold, c.italics, c.reverse)):
        style = Style(color=_colour(fg), bold=bold, italic=italic, reverse=reverse)
        text.append("".join(one.data for one in same), style)
    text.rstrip()
    return text


def _colour(name: str) -> Color | None:
    if name == "default":
        return None
    name = {"brown": "yellow", "brightbrown": "bright_yellow"}.get(name, name)
    known = name.startswith("bright") or name.isalpha()
    return Color.parse(name.replace("bright", "bright_").replace("__", "_") if known else f"#{name}")


def _draw(texts: list[Text], times: list[float]) -> None:
    console = Console(record=True, width=COLUMNS, file=open(os.devnull, "w"), force_terminal=True)  # noqa: SIM115, PTH123
    console.print(Text.assemble(("$ ", "green"), (COMMAND, "bold")))
    for text in texts:
        console.print(text, no_wrap=True, overflow="crop")
    svg = console.export_svg(title="kmodpipe", theme=DARK, unique_id="s")
    first, whole = times[0], max(times[-1] - times[0], 0.1)
    delays = [0.0, *(1 + (one - first) / whole * (SECONDS - 1) for one in times)]

    def delayed(found: re.Match[str]) -> str:
        return f'{found[0]} style="animation-delay:{delays[min(int(found[1]), len(delays) - 1)]:.2f}s"'

    svg = re.sub(r'clip-path="url\(#s-line-(\d+)\)"', delayed, svg)
    moving = "@media (prefers-reduced-motion:no-preference){.s-matrix text{animation:s-come 1ms linear both}}"
    moving += "@keyframes s-come{from{opacity:0}to{opacity:1}}"
    # No fonts of others: the reader's own monospace.
    svg = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL).replace("Fira Code,", "")
    (PICTURES / "session.svg").write_text(svg.replace("</style>", f"{moving}</style>", 1), "utf-8")


# -- the report -------------------------------------------------------------------------------------
def report(page: Path) -> None:
    """Write the pictures of a report."""
    with browser() as opened:
        for scheme in ("light", "dark"):
            opened.media(prefers_color_scheme=scheme)
            opened.size(*SIZE)
            opened.open(page.resolve().as_uri())
            opened.shot(path := PICTURES / f"report-{scheme}.png")
            _reduce(path)


def _reduce(path: Path) -> None:
    """Make a picture smaller, by a palette, where Pillow is there."""
    try:
        from PIL import Image
    except ImportError:
        return
    with Image.open(path) as image:
        image.convert("RGB").quantize(64).save(path, optimize=True)


if __name__ == "__main__":
    sys.exit(main())
