"""Print to the screen and to the event log; nothing else in the package prints.

Three modes: ``live`` (a terminal: spinners and bars), ``plain`` (CI: a line when a step starts, one when it
ends, a sign of life in between) and ``quiet`` (warnings, errors and final tables). Everything shown is also
written to the event log, one JSON object a line. Control characters in text from guests, compilers and
archives are made visible here.
"""

from __future__ import annotations

import errno
import io
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import IO

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from kmodpipe.util import costs
from kmodpipe.util.errors import InfraError, KmodpipeError
from kmodpipe.util.picture import Picture
from kmodpipe.util.text import one_line, spelled, visible_lines

# How often a line is printed of a step that goes on, where nothing is drawn.
SIGN_OF_LIFE_S = 15.0
# The width of tables in a file or CI log, which has none of its own.
_FILE_COLUMNS = 160


def open_streams() -> None:
    """Open /dev/null for each of stdin, stdout and stderr that is closed.

    Otherwise the next file opened, such as a guest's console, would get its number and be written to.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            # Gets the lowest free number, which is this one.
            os.open(os.devnull, os.O_RDWR)


_CLOCK_AT_0 = time.time() - time.monotonic()


def now() -> float:
    """Return the seconds since 1970, monotonic: setting the clock meanwhile has no effect."""
    return _CLOCK_AT_0 + time.monotonic()


class Mode(StrEnum):
    LIVE = "live"
    PLAIN = "plain"
    QUIET = "quiet"


class Step:
    """One piece of work on the screen. Thread-safe; `update` is cheap enough to call for each line."""

    def __init__(self, screen: Screen, name: str) -> None:
        self._screen = screen
        self.name = name
        self.started = time.monotonic()
        self.text = ""
        self.fraction: float | None = None
        self.outcome = ""
        self.failed = False
        self._shown_at = self.started

    @property
    def elapsed_s(self) -> float:
        return time.monotonic() - self.started

    def update(self, text: str = "", *, done: float | None = None, total: float | None = None) -> None:
        """Show what is going on; ``done`` of ``total`` draws a bar."""
        if text:
            self.text = one_line(text)
        if done is not None and total:
            self.fraction = min(max(done / total, 0.0), 1.0)
        if self._screen.mode is Mode.PLAIN and time.monotonic() - self._shown_at > SIGN_OF_LIFE_S:
            self._shown_at = time.monotonic()
            percent = f" {self.fraction:.0%}" if self.fraction is not None else ""
            self._screen.line(f"    … {self.name}{percent} {self.text} ({self.elapsed_s:.0f} s)")

    def finish(self, outcome: str, *, failed: bool = False) -> None:
        """Set the text shown at the end ("cached"); ``failed`` marks a failure without an exception."""
        self.outcome = one_line(outcome)
        self.failed = failed


class _Stream(Console):
    """A stream of the screen.

    ``gone`` says why it cannot be written any more: a closed pipe, a full disk, a closed terminal. ``unread``
    is whether that was a pipe whose reader is gone.
    """

    def __init__(self, file: IO[str], width: int | None = None) -> None:
        # No emoji codes: ":warning:" in a compiler's line is text.
        super().__init__(file=file, highlight=False, emoji=False, width=width)
        if isinstance(file, io.TextIOWrapper):
            # A locale without ✓ and ✗ must not end a run.
            with suppress(ValueError, OSError):
                file.reconfigure(errors="backslashreplace")
        self.gone = ""
        self.unread = False

    def on_broken_pipe(self) -> None:
        # Rich's default ends the process with status 1, which is a verdict here.
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))

    def put(self, *what: RenderableType, end: str = "\n", soft_wrap: bool | None = None) -> None:
        if self.gone:
            return
        try:
            self.print(*what, end=end, soft_wrap=soft_wrap)
        except OSError as e:
            self.gone = e.strerror or str(e)
            self.unread = e.errno == errno.EPIPE
            self.quiet = True
            # Otherwise its buffer is written, and fails, again when the interpreter exits.
            with suppress(OSError, ValueError):
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, self.file.fileno())
                os.close(nowhere)


class _Nowhere(io.StringIO):
    """A stream that keeps nothing."""

    def write(self, text: str) -> int:
        return len(text)


@dataclass(frozen=True)
class Done:
    """A step that has ended."""

    name: str
    # Seconds since 1970.
    began: float
    seconds: float
    outcome: str


class Screen:
    """Print progress to stderr and results to stdout."""

    def __init__(self, mode: Mode | None = None, *, out: IO[str] | None = None) -> None:
        self._err = _Stream(out or sys.stderr)
        self._err.soft_wrap = True
        self._out = _Stream(out or sys.stdout)
        if not self._out.is_terminal and "COLUMNS" not in os.environ:
            self._out = _Stream(out or sys.stdout, width=_FILE_COLUMNS)
        self.mode = mode or (Mode.LIVE if self._err.is_terminal else Mode.PLAIN)
        self._lock = threading.RLock()
        self._steps: list[Step] = []
        self._live: Live | None = None
        self._overall = ""
        # Whether what is running is a part of something larger, whose progress is shown instead.
        self._is_part = False
        self._warned: set[str] = set()
        self._log: IO[str] | None = None
        self.done: list[Done] = []
        """The steps that have ended, in the order in which they did."""
        self.document_only = False
        """Whether stdout gets one JSON document and nothing else; results in text go to stderr then."""
        self.documented = False
        """Whether the document was printed."""
        self.program = "invoke"
        """The program that was called: commands in warnings are spelled with it."""
        self.on_event: Callable[[str, Mapping[str, object]], None] = lambda event, fields: None
        """Called with each event, from any thread."""

    @classmethod
    def unseen(cls) -> Screen:
        """Return a screen that shows nothing, for work that is shown otherwise: by its events and steps."""
        return cls(Mode.QUIET, out=_Nowhere())

    @property
    def running(self) -> tuple[Step, ...]:
        """The steps that run now."""
        with self._lock:
            return tuple(self._steps)

    @property
    def is_full(self) -> bool:
        """Whether `staying` can be used: there is a terminal that can address its lines."""
        return self.mode is Mode.LIVE and self._err.is_terminal and not self._err.is_dumb_terminal

    @property
    def has_reader(self) -> bool:
        """Whether results go to a terminal, and not to a file or a program."""
        return self._out.is_terminal and not self.document_only

    # -- the event log ---------------------------------------------------------------------------
    def log_to(self, path: Path) -> None:
        """Append every event to ``path`` from now on."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self.close_log()
        self._log = path.open("a", encoding="utf-8")

    def close_log(self) -> None:
        """Close the event log, if there is one; its last event is what the command's steps cost."""
        if self._log:
            self._event("costs", **costs.current().as_fields())
        self._drop_log()

    def _drop_log(self) -> None:
        log, self._log = self._log, None
        if log:
            # Closing writes the buffer again; that it fails was reported already.
            with suppress(OSError):
                log.close()

    def _event(self, event: str, **fields: object) -> None:
        self.on_event(event, fields)
        with self._lock:
            if not self._log:
                return
            try:
                self._log.write(json.dumps({"time": round(time.time(), 3), "event": event, **fields}) + "\n")
                self._log.flush()
            except OSError as e:
                # The warning is an event itself: close the log first.
                name, said = self._log.name, (e.strerror or str(e)).lower()
                self._drop_log()
                self.warn(f"the event log ends here: {said} ({name})")

    # -- lines -----------------------------------------------------------------------------------
    def line(self, text: str, style: str = "") -> None:
        """Print a line of progress that is no event; not in quiet mode."""
        if self.mode is not Mode.QUIET:
            with self._lock:
                self._err.put(Text(one_line(text), style=style))

    def say(self, text: str) -> None:
        """Print a line of progress; not in quiet mode."""
        self._event("say", text=text)
        if not self._is_part:
            self.line(text)

    def warn(self, text: str, *, hint: str = "") -> None:
        """Print a warning, in every mode, and what to do about it."""
        text, hint = spelled(text, self.program), spelled(hint, self.program)
        self._event("warning", text=text, **({"hint": hint} if hint else {}))
        if self._is_part and text in self._warned:
            return
        self._warned.add(text)
        with self._lock:
            self._err.put(Text(f"warning: {one_line(text)}", style="yellow"))
            if hint:
                self._err.put(Text(f"  hint: {one_line(hint)}", style="yellow"))

    def error(self, error: KmodpipeError) -> None:
        """Print what happened, where, the evidence, and what to do next."""
        self._event("error", kind=type(error).__name__, text=str(error))
        with self._lock:
            self._err.put(Text("error: ", style="bold red") + Text(visible_lines(str(error))))

    def show(self, renderable: RenderableType) -> None:
        """Print a result (table, panel) to stdout, in every mode."""
        with self._lock:
            (self._err if self.document_only else self._out).put(renderable)
        self._require_out()

    def print(self, text: str) -> None:
        """Print a result in plain text to stdout, in every mode."""
        with self._lock:
            stream = self._err if self.document_only else self._out
            stream.put(Text(visible_lines(text)), soft_wrap=True)
        self._require_out()

    def document(self, content: Mapping[str, object] | str) -> None:
        """Print a JSON document, or its text, to stdout."""
        text = content if isinstance(content, str) else json.dumps(content, indent=1)
        self.documented = True
        with self._lock:
            self._out.put(Text(text.rstrip("\n")), soft_wrap=True)
        self._require_out()

    def command(self, line: str) -> None:
        """Print a command that is run now, as it can be pasted into a shell."""
        with self._lock:
            self._err.put(Text(f"+ {one_line(line)}", style="dim"))

    def _require_out(self) -> None:
        """Raise InfraError if stdout is gone: progress may be lost, a result must not be lost silently.

        A reader that has closed its end, such as ``head``, has had enough: that is no error.
        """
        if self._out.gone and not self._out.unread:
            raise InfraError(
                f"the output cannot be written: {self._out.gone.lower()}",
                where="stdout",
                hint="check where it is redirected to, and the space there",
            )

    def confirm(self, question: str) -> bool:
        """Ask on the terminal; only "y" and "yes" count as yes."""
        with self._lock:
            self._err.put(Text(visible_lines(question)), Text(" [y/N] ", style="bold"), end="")
        return sys.stdin.readline().strip().lower() in ("y", "yes")

    def ask(self, question: str, default: str = "") -> str | None:
        """Ask on the terminal; return the answer, ``default`` for an empty line, None if there is no more."""
        with self._lock:
            shown = f"[{default}] " if default else ""
            self._err.put(Text(visible_lines(question)), Text(visible_lines(shown), style="bold"), end="")
        line = sys.stdin.readline()
        return (line.strip() or default) if line else None

    def progress(self, text: str) -> None:
        """Show how far the command as a whole is: below the steps on a terminal, as a line elsewhere."""
        self._event("progress", text=text)
        if self._is_part:
            return
        with self._lock:
            self._overall = one_line(text)
        if self.mode is Mode.PLAIN:
            self.line(f"    {text}", style="dim")

    @contextmanager
    def staying(self, draw: Callable[[int, int], RenderableType]) -> Iterator[Picture]:
        """Show what ``draw`` returns for a width and a height on the whole terminal while the block runs."""
        picture = Picture(self._err, draw)
        try:
            picture.open()
            yield picture
        finally:
            picture.close()

    @contextmanager
    def part(self) -> Iterator[None]:
        """Go on to show the progress of the command while the block runs, and not the block's own.

        Nor are the block's sentences (`say`) shown, and each warning is shown once. All are events.
        """
        before, self._is_part = self._is_part, True
        try:
            yield
        finally:
            self._is_part = before

    # -- steps -----------------------------------------------------------------------------------
    @contextmanager
    def step(self, name: str) -> Iterator[Step]:
        """Show a step while the block runs, and how it ended with the time it took."""
        step, began = Step(self, one_line(name)), now()
        self._event("start", step=step.name)
        with self._lock:
            self._steps.append(step)
            self._refresh()
        if self.mode is Mode.PLAIN:
            self.line(f"  → {step.name}")
        failed = True
        try:
            yield step
            failed = False
        finally:
            with self._lock:
                self._steps.remove(step)
                self._refresh()
            outcome = "failed" if failed else step.outcome or "done"
            seconds = round(step.elapsed_s, 3)
            self._event("end", step=step.name, outcome=outcome, seconds=seconds)
            with self._lock:
                self.done.append(Done(step.name, round(began, 3), seconds, outcome))
            mark, style = ("✗", "red") if failed or step.failed else ("✓", "green")
            if self.mode is not Mode.QUIET:
                with self._lock:
                    self._err.put(
                        f"  [{style}]{mark}[/{style}] {escape(step.name)}: {escape(outcome)} "
                        f"[dim]({step.elapsed_s:.1f} s)[/dim]",
                    )

    def _refresh(self) -> None:
        if self.mode is not Mode.LIVE:
            return
        if self._steps and self._live is None:
            self._live = Live(
                get_renderable=self._running, console=self._err, transient=True, refresh_per_second=8
            )
            with suppress(OSError):
                self._live.start()
        elif not self._steps and self._live is not None:
            with suppress(OSError):
                self._live.stop()
            self._live = None

    def _running(self) -> RenderableType:
        from rich.progress_bar import ProgressBar
        from rich.spinner import Spinner

        table = Table.grid(padding=(0, 1))
        for step in list(self._steps):
            middle: RenderableType = Text(step.text[:70], style="dim", no_wrap=True, overflow="ellipsis")
            bar: RenderableType = Text("")
            if step.fraction is not None:
                bar = ProgressBar(total=1.0, completed=step.fraction, width=20)
            table.add_row(Spinner("dots"), Text(step.name), bar, middle, Text(f"{step.elapsed_s:.0f} s"))
        return Group(table, Text(f"  {self._overall}", style="dim")) if self._overall else table
