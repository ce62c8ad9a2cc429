"""Wait for changes, keys and results, and run round after round.

    a file changes ─► quiet for a moment ─► the inputs are read again ─► what is due ─► a round ─► the board

Reading and running have threads of their own; everything else happens here, one message after the other.
"""

from __future__ import annotations

import queue
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import RenderableType

from kmodpipe.cache import look_ahead
from kmodpipe.cache.place import cache_path
from kmodpipe.pipeline.run_spec import RunSpec
from kmodpipe.util import terminal_keys
from kmodpipe.util.errors import ExitCode, KmodpipeError
from kmodpipe.util.picture import Picture
from kmodpipe.util.screen import Screen
from kmodpipe.util.terminal_keys import Keys
from kmodpipe.util.workers import Thread
from kmodpipe.watch import history, order, places, progress, reading, view
from kmodpipe.watch.board import turned
from kmodpipe.watch.files import Change, Files
from kmodpipe.watch.inputs import Inputs, changed, facts, in_words
from kmodpipe.watch.messages import (
    CellSettled,
    FilesChanged,
    Message,
    Pressed,
    Read,
    Reading,
    Redraw,
    RoundEnded,
)
from kmodpipe.watch.round import Place, Round
from kmodpipe.watch.state import Commands, Settings, State
from kmodpipe.watch.view import Shown

# An editor takes several steps to save a file: that long nothing may have changed.
_QUIET_S = 0.05
# Files that change all the time are read all the same.
_MOST_WAIT_S = 3.0
# How often the screen is drawn while something runs, and it is looked whether a place is another folder now.
_DRAW_S = 0.25
_LOOK_S = 1.0
_READER_S = 5.0
_NOTES = 4
# Why a round was stopped.
_SAVE, _BY_HAND, _END = "a save", "by hand", "the end"


class Loop:
    """Watches until the user has had enough."""

    def __init__(self, commands: Commands, screen: Screen, settings: Settings) -> None:
        self._commands, self._screen, self._settings = commands, screen, settings
        self._queue: queue.SimpleQueue[Message] = queue.SimpleQueue()
        self._place = Place(settings.out, commands.cache, self._queue.put, self._note)
        self._files = Files(lambda: self._queue.put(FilesChanged()), self._note)
        self._keys = Keys(lambda key: self._queue.put(Pressed(key)))
        self._picture: Picture | None = None
        self._signs = progress.Signs()
        # The warnings of this round, and those that were printed.
        self._notes: tuple[str, ...] = ()
        self._said: set[str] = set()
        self._rounds: list[Round] = []
        self._round: Round | None = None
        self._reader: Thread | None = None
        # A file changed again while the inputs were read.
        self._stale = False
        # When the first change came that is not read yet; 0 if there is none.
        self._pending_since = 0.0
        self._waiting = ""
        self._selected = 0
        self._over = False

    def run(self, first: RunSpec) -> ExitCode:
        """Run rounds until a key or a signal ends it. Return what the last verdicts mean.

        Raise UserError for what is wrong with the command line at the beginning.
        """
        inputs = Inputs(first, facts(first, {}))
        self._state = State(inputs, places.of(first, self._commands.files), saved=time.monotonic())
        try:
            self._watch()
            with self._drawn():
                self._begin()
                while not self._over:
                    self._step()
        except KeyboardInterrupt:
            pass
        finally:
            self._end()
        self._report_end()
        return self._state.board.exit_code(self._state.inputs)

    # -- the screen ------------------------------------------------------------------------------
    @contextmanager
    def _drawn(self) -> Iterator[None]:
        """Show the board while the block runs, on a terminal; else what happens is printed line by line."""
        if not self._screen.is_full:
            yield
            return
        resized = threading.current_thread() is threading.main_thread()
        # A SimpleQueue may be written to while it is read.
        before = signal.signal(signal.SIGWINCH, lambda *_: self._queue.put(Redraw())) if resized else None
        try:
            with self._screen.staying(self._draw) as picture:
                self._picture = picture
                self._keys.open()
                yield
        finally:
            self._picture = None
            self._keys.close()
            if resized:
                signal.signal(signal.SIGWINCH, before)

    def _draw(self, width: int, height: int) -> RenderableType:
        return view.picture(self._shown(), width, height)

    def _shown(self) -> Shown:
        state, now = self._state, self._round
        return Shown(
            inputs=state.inputs,
            board=state.board,
            turned=turned(state.before, state.board),
            number=self._rounds[-1].number if self._rounds else 0,
            why=self._rounds[-1].why if self._rounds else "",
            running=now is not None,
            cells=frozenset(cell for cell, _ in now.left) if now else frozenset(),
            steps=progress.going(now.steps) if now else (),
            laps=view.laps(self._rounds[-1], time.monotonic()) if self._rounds else "",
            broken=state.broken,
            waiting=self._waiting,
            notes=self._notes,
            selected=self._selected,
            keys=self._keys.there,
        )

    def _tell(self, line: str, *, result: bool = False) -> None:
        """Print a line where no picture is drawn."""
        if not self._screen.is_full:
            (self._screen.print if result else self._screen.say)(line)

    def _note(self, text: str) -> None:
        if text not in self._notes:
            self._notes = (*self._notes, text)[-_NOTES:]
        if text not in self._said:
            self._said.add(text)
            self._tell(f"warning: {text}")

    # -- messages --------------------------------------------------------------------------------
    def _step(self) -> None:
        """Take the next message, or do what it is time for."""
        try:
            message = self._queue.get(timeout=self._timeout())
        except queue.Empty:
            self._look()
            return
        match message:
            case FilesChanged():
                if not self._pending_since:
                    self._pending_since = time.monotonic()
                    self._look_ahead()
            case Pressed(key):
                self._press(key)
            case Read():
                self._has_read(message)
            case CellSettled():
                self._settled(message)
            case RoundEnded():
                self._ended(message)
            case Redraw():
                pass
        if self._queue.empty():
            self._redraw()

    def _timeout(self) -> float:
        if self._waiting:
            return _LOOK_S
        if self._pending_since:
            return _QUIET_S / 3
        return _DRAW_S if self._round else _LOOK_S

    def _redraw(self) -> None:
        if self._picture:
            self._picture.draw()

    def _look(self) -> None:
        """Look whether the places are what they were; read the inputs if files changed and are quiet now."""
        self._files.refresh()
        if self._pending_since:
            too_long = time.monotonic() - self._pending_since > _MOST_WAIT_S
            if self._files.quiet_s >= _QUIET_S or too_long:
                self._waiting = self._state.places.under_way()
                if not self._waiting:
                    self._take_change()
        if self._round or self._waiting:
            self._redraw()
        if self._round and not self._screen.is_full:
            for line in self._signs.of(progress.going(self._round.steps)):
                self._tell(line)

    def _look_ahead(self) -> None:
        """Begin to look at the trees of the cache, which the next round begins with."""
        if cache := cache_path():
            look_ahead.begin(cache, self._state.inputs.spec.project.root)

    def _take_change(self) -> None:
        self._pending_since, self._waiting = 0.0, ""
        change = self._files.take()
        for kernel in change.kernels:
            self._state.trees[kernel] = self._state.trees.get(kernel, 0) + 1
        self._begin_reading(change)

    def _begin_reading(self, change: Change) -> None:
        self._state.saved = change.at or self._state.saved
        if self._reader:
            self._stale = True
            return
        self._stale = False
        trees = {kernel: str(times) for kernel, times in self._state.trees.items()}
        before, out = self._state.inputs, self._settings.out.parent
        self._reader = Thread(
            lambda: self._queue.put(reading.again(self._commands, out, before, trees)), "reader"
        )
        self._reader.start()

    def _has_read(self, message: Read) -> None:
        self._reader = None
        if self._stale:
            self._begin_reading(Change((), frozenset(), 0.0))
        elif message.read is None:
            self._break(message.error)
        else:
            self._take_up(message.read)

    def _take_up(self, read: Reading) -> None:
        """Go on with other inputs: stop a round that would be out of date, begin one of what is due."""
        state = self._state
        was_broken, state.broken = state.broken, ""
        parts = changed(state.inputs.parts, read.inputs.parts)
        if not parts and not (was_broken and not self._round):
            # Nothing that a verdict depends on: another text of a cover letter, a file saved as it was.
            return
        if parts:
            state.why = in_words(parts) or state.why
            self._tell(f"changed: {state.why}")
            if state.is_complete:
                state.before, state.is_complete = state.board, False
        state.inputs, state.places, state.touched = read.inputs, read.places, read.touched
        self._watch()
        state.board = state.board.planned(state.inputs)
        if self._round is None:
            self._begin()
        elif self._concerns(self._round):
            self._round.stop(_SAVE)

    def _concerns(self, running: Round) -> bool:
        """Return whether what a round has still to do would be out of date."""
        now = self._state.inputs
        return any(running.inputs.of(pair) != now.of(pair) for pair in running.left)

    def _break(self, error: BaseException | None) -> None:
        """Show what is wrong, and keep the last verdicts."""
        if not isinstance(error, KmodpipeError | OSError):
            raise error or RuntimeError("nothing was read")
        self._state.broken = str(error)
        for number, line in enumerate(str(error).splitlines()):
            self._tell(line if number else f"broken: {line}")

    def _watch(self) -> None:
        spec = self._state.inputs.spec
        cache = cache_path()
        aside = [spec.out.resolve(), self._settings.out.resolve(), *([cache.resolve()] if cache else [])]
        if self._files.watch(self._state.places.places, aside):
            # Of what changed after it was read and before it was watched nobody tells.
            self._begin_reading(Change((), frozenset(), 0.0))

    # -- rounds ----------------------------------------------------------------------------------
    def _begin(self) -> None:
        """Begin a round of what is due, if anything is."""
        state = self._state
        state.board = state.board.planned(state.inputs)
        everything = frozenset(state.inputs.pairs)
        due = everything if self._settings.whole else state.board.due(state.inputs) | state.forced
        spec = state.inputs.spec
        laid_out = order.parts(
            due & everything,
            [cell.id for cell in spec.cells],
            [case.id for case in spec.cases],
            failed=state.board.failing(),
            touched=state.touched,
            seconds={pair: entry.result.duration_s for pair, entry in state.board.entries.items()},
        )
        state.broken = ""
        if not laid_out:
            state.is_complete = True
            self._tell("nothing to run: every verdict is of these files")
            return
        number = self._rounds[-1].number + 1 if self._rounds else 1
        self._round = Round(number, state.inputs, laid_out, self._place, state.why, state.saved)
        self._rounds.append(self._round)
        self._notes = ()
        self._tell(f"round {number}: {view.amount(self._round)}")
        self._round.start()

    def _settled(self, message: CellSettled) -> None:
        running, state = self._round, self._state
        if running is None or running.number != message.round:
            return
        state.board = state.board.with_cell(message.cell, running.inputs, running.number, message.cases)
        state.forced -= {(message.cell.cell, case) for case in message.cases}
        if not self._screen.is_full:
            for line in view.cell_lines(state.board, message):
                self._tell(line, result=True)

    def _ended(self, message: RoundEnded) -> None:
        running, state, error = self._round, self._state, message.error
        if running is None or running.number != message.round:
            return
        self._round = None
        self._prune()
        if error is not None and not running.stopped:
            self._break(error)
        self._tell(f"round {running.number} {'stopped' if running.stopped else 'ended'}{view.told(running)}")
        if error is None:
            for line in view.turned_lines(turned(state.before, state.board)):
                self._tell(line, result=True)
            self._tell(view.total(state.board, state.inputs), result=True)
        if running.stopped == _SAVE or (state.inputs is not running.inputs and running.stopped != _BY_HAND):
            self._begin()
        elif error is None and not state.board.due(state.inputs) and not state.board.troubles:
            state.is_complete = True

    def _prune(self) -> None:
        shown = {
            folder for one in self._rounds for folder in one.folders if one.number in self._state.board.rounds
        }
        rounds = [tuple(one.folders) for one in self._rounds]
        gone = set(history.prune(self._settings.out, rounds, shown, self._settings.keep))
        for one in self._rounds:
            one.folders = [folder for folder in one.folders if folder not in gone]
        # The last one is asked for its times.
        self._rounds = [one for one in self._rounds[:-1] if one.folders] + self._rounds[-1:]

    # -- keys ------------------------------------------------------------------------------------
    def _press(self, key: str) -> None:
        failing = view.troubled(self._state.board)
        match key:
            case "q":
                self._over = True
            case "a":
                self._run_all()
            case "x" if self._round:
                self._round.stop(_BY_HAND)
            case "up" | "k":
                self._selected = max(self._selected - 1, 0)
            case "down" | "j":
                self._selected = min(self._selected + 1, max(len(failing) - 1, 0))
            case "s" | "enter" if failing:
                self._open_shell(failing[min(self._selected, len(failing) - 1)])
            case terminal_keys.SUSPEND:
                with self._given_back():
                    terminal_keys.stop_here()
            case _:
                pass

    def _run_all(self) -> None:
        state = self._state
        state.forced = frozenset(state.inputs.pairs)
        state.why, state.saved = "all, by hand", time.monotonic()
        if state.is_complete:
            state.before, state.is_complete = state.board, False
        if self._pending_since:
            self._take_change()
        elif self._round:
            self._round.stop(_SAVE)
        else:
            self._begin()

    @contextmanager
    def _given_back(self) -> Iterator[None]:
        """Give the terminal to something else while the block runs."""
        self._keys.close()
        if self._picture:
            self._picture.close()
        try:
            yield
        finally:
            if self._picture:
                self._picture.open()
            self._keys.open()

    def _open_shell(self, cell: str) -> None:
        with self._given_back():
            try:
                self._commands.shell(cell)
            except KmodpipeError as e:
                self._screen.error(e)
                self._note(f"no shell: {e.sentence}")

    # -- the end ---------------------------------------------------------------------------------
    def _end(self) -> None:
        if self._round:
            self._round.stop(_END)
            self._round.join()
            self._prune()
        if self._reader:
            self._reader.join(_READER_S)
        self._files.close()

    def _report_end(self) -> None:
        self._screen.show(view.end(self._state.board, self._state.inputs))
        self._screen.say(f"the runs of the last rounds are in {self._settings.out}")
