"""Draw the board, and say in lines what happens where there is no screen to draw on. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rich.console import Group, RenderableType
from rich.text import Text

from kmodpipe.report import terminal, terminal_lines, wording
from kmodpipe.report.compare import Difference
from kmodpipe.results import CellResult, State, Verdict, effects
from kmodpipe.results.effects import EffectKind
from kmodpipe.util.text import count, one_line, some
from kmodpipe.watch.board import RED, Board
from kmodpipe.watch.inputs import Inputs, Pair
from kmodpipe.watch.messages import CellSettled
from kmodpipe.watch.progress import Going, common
from kmodpipe.watch.round import Round

KEYS = "a run all   s shell in ▸   ↑↓ choose   x stop   q quit"
_BROKEN_LINES = 8
_REASONS = 3
_STEPS = 3
_STYLES = {"pass": "green", "unmet": "cyan", "defect": "yellow", "flaky": "bold red", "fail": "bold red",
           "error": "magenta", "skip": "dim"}  # fmt: skip


@dataclass(frozen=True)
class Shown:
    """All that is on the screen."""

    inputs: Inputs
    board: Board
    turned: tuple[Difference, ...] = ()
    # Of the last round; 0 before the first.
    number: int = 0
    why: str = ""
    running: bool = False
    # What the round has still to test.
    cells: frozenset[str] = frozenset()
    # What goes on.
    steps: tuple[Going, ...] = ()
    # How long the last round took, in words.
    laps: str = ""
    broken: str = ""
    # What a change waits for.
    waiting: str = ""
    notes: tuple[str, ...] = ()
    # Which of the failing cells is marked.
    selected: int = 0
    keys: bool = True


# -- words --------------------------------------------------------------------------------------------
def amount(one: Round) -> str:
    """Return ``3 cells, 15 cases: series index-nouuid``."""
    cells = {cell for cell, _ in one.pairs}
    cases = {case for _, case in one.pairs}
    return f"{count(len(cells), 'cell')}, {count(len(cases), 'case')}: {one.why}"


def laps(one: Round, now: float) -> str:
    """Return how long after the save a round's verdicts came."""
    found = []
    if one.laps.first:
        found.append(f"first verdict {one.laps.first - one.saved:.1f} s after the save")
    if one.laps.ended:
        found.append(f"{'stopped' if one.stopped else 'all'} after {one.laps.ended - one.saved:.1f} s")
    return ", ".join(found) or f"{now - one.saved:.0f} s since the save"


def told(one: Round) -> str:
    """Return the same with the steps in between, for the line that ends a round."""
    made = one.laps
    steps = [f"read {made.began - one.saved:.1f} s"]
    if made.ready:
        steps.append(f"trees and builder {made.ready - made.began:.1f} s")
        steps.append(f"build and test {made.ended - made.ready:.1f} s")
    return f": {laps(one, made.ended)} ({', '.join(steps)})"


def troubled(board: Board) -> tuple[str, ...]:
    """Return the cells with a failing case, in their order; a guest of each can be entered."""
    return tuple(dict.fromkeys(cell for cell, _ in board.failing()))


def total(board: Board, inputs: Inputs) -> str:
    """Return ``12 as expected, 1 failing; fixed 3, regressed 1``."""
    run = board.run
    verdicts = [
        case.verdict for cell in run.cells for case in cell.cases if (cell.cell, case.case) in board.entries
    ]
    words = {Verdict.PASS: "as expected", Verdict.FAIL: "failing", Verdict.ERROR: "without verdict"}
    parts = [f"{n} {word}" for verdict, word in words.items() if (n := verdicts.count(verdict))]
    old = sum(board.is_old(pair, inputs) for pair in board.entries)
    parts += [f"{old} of them older than the last save"] if old else []
    kinds = [one.kind for one in effects(run)]
    wanted = (EffectKind.FIXED, EffectKind.REGRESSED, EffectKind.STILL_FAILING, EffectKind.KNOWN_DEFECT)
    compared = [f"{kind.value} {n}" for kind in wanted if (n := kinds.count(kind))]
    failed = [one for one in board.troubles.values() if one.cell.state is State.BUILD_FAILED]
    parts += [f"{count(len(failed), 'cell')} not built"] if failed else []
    text = ", ".join(parts) or "no verdict yet"
    return f"{text}; against the control: {', '.join(compared)}" if compared else text


def cell_lines(board: Board, message: CellSettled) -> list[str]:
    """Return what a round found in a cell, a line and one more for each result that is not as expected."""
    cell = next((one for one in board.run.cells if one.cell == message.cell.cell), None)
    if cell is None or message.cell.state is State.SKIPPED:
        return []
    trouble = board.troubles.get(cell.cell)
    if trouble:
        return [f"  {cell.cell}: {_reason(trouble.cell)}"]
    ran = [case for case in cell.cases if case.case in message.cases]
    signs = "".join(wording.mark(case).sign for case in ran)
    bad = [case for case in ran if case.verdict in (Verdict.FAIL, Verdict.ERROR)]
    return [
        f"  {signs} {cell.cell}",
        *(f"    {wording.mark(case).sign} {case.case}: {wording.sentence(case)}" for case in bad),
    ]


def turned_lines(found: Iterable[Difference]) -> list[str]:
    """Return a line for each result that turned since the last save."""
    return [
        f"turned {'red' if one.change in RED else 'green'}: {one.cell} {one.case}: {_sentence(one)}"
        for one in found
    ]


def _sentence(one: Difference) -> str:
    return wording.sentence(one.after) if one.after else one.change.value


def _reason(cell: CellResult) -> str:
    """Return why a cell could not be tested: the compiler's first line, if that is it."""
    word = {State.BUILD_FAILED: "does not build", State.INFRA: "no verdict"}.get(cell.state, cell.state.value)
    found = [line.strip() for line in cell.reason.splitlines() if line.strip()]
    said = [line.removeprefix("| ") for line in found if line.startswith("| ")]
    first = said[0] if said and cell.state is State.BUILD_FAILED else found[0] if found else ""
    return f"{word}: {one_line(first)}"


# -- the picture --------------------------------------------------------------------------------------
def picture(shown: Shown, width: int, height: int) -> RenderableType:
    """Return what the screen shows: never more lines than it has."""
    return Group(*lines(shown, width, height))


def lines(shown: Shown, width: int, height: int) -> list[Text]:
    """Return the screen's lines, each cut to its width."""
    top = [_title(shown), *_status(shown, width), *_common(shown), *_broken(shown)]
    keys = _line(KEYS if shown.keys else "Ctrl-C quits", "reverse")
    room = max(height - len(top) - 2, 0)
    turned = _block("since the last save", _turned(shown), max(room // 4, 2))
    failing = _block("failing", _failing(shown), max(room // 3, 2))
    notes = [_line(f"warning: {one_line(note)}", "yellow") for note in shown.notes[-2:]] if room > 12 else []
    left = room - len(turned) - len(failing) - len(notes)
    body = [*_cells(shown, max(left, 2)), *turned, *failing, *notes][:room]
    body += [Text("")] * (room - len(body))
    made = [*top, Text(""), *body, keys]
    for line in made:
        line.no_wrap, line.overflow = True, "ellipsis"
        line.truncate(max(width, 1), overflow="ellipsis")
    return made[: max(height, 1)]


def _line(text: str, style: str = "") -> Text:
    return Text(text, style=style, no_wrap=True, overflow="ellipsis")


def _title(shown: Shown) -> Text:
    spec = shown.inputs.spec
    names = some([one.name for one in spec.series if not one.partial], 3) or "no series"
    on = some([tree.name for tree in spec.trees], 3)
    module = spec.own.name if spec.own else spec.module
    return _line(f"kmodpipe watch · {one_line(names)} · {one_line(module)} on {one_line(on)}", "bold")


def _status(shown: Shown, width: int) -> list[Text]:
    """Return what is so, with how long it took beside it, or below where there is no room."""
    text, style = _state(shown)
    beside = _line(f"{text} · {shown.laps}", style)
    if shown.waiting or shown.broken or not shown.laps:
        return [_line(text, style)]
    return [beside] if beside.cell_len <= width else [_line(text, style), _line(f"  {shown.laps}", style)]


def _state(shown: Shown) -> tuple[str, str]:
    """Return what is so in words, and their style."""
    if shown.waiting:
        return f"… a change waits: {shown.waiting} is under way; a runs all the same", "yellow"
    if shown.running:
        left = f"● round {shown.number}: {count(len(shown.cells), 'cell')} left"
        return f"{left} · {one_line(shown.why)}", "bold cyan"
    if shown.broken:
        return "✗ the last save is broken; these are the verdicts before it", "bold red"
    if any(one.cell.state is State.BUILD_FAILED for one in shown.board.troubles.values()):
        return "✗ the last save does not build; these are the verdicts before it", "bold red"
    text = total(shown.board, shown.inputs)
    if shown.board.failing() or shown.board.troubles:
        return f"✗ {text}", "bold red"
    if shown.board.due(shown.inputs):
        return f"… {text}; a runs what has no verdict of these files", "bold yellow"
    return f"✓ {text}", "bold green"


def _broken(shown: Shown) -> list[Text]:
    found = [_line(f"  {one_line(line)}", "red") for line in shown.broken.splitlines()[:_BROKEN_LINES]]
    reasons: dict[str, list[str]] = {}
    for trouble in shown.board.troubles.values():
        reasons.setdefault(_reason(trouble.cell), []).append(trouble.cell.cell)
    for reason, cells in list(reasons.items())[:_REASONS]:
        found.append(_line(f"  {reason}  [{some(cells, 1)}]", "red"))
    return found


def _common(shown: Shown) -> list[Text]:
    """Return a line for each of the longest steps that belong to no cell."""
    found = common(shown.steps, [cell.cell for cell in shown.board.run.cells])
    return [_line(f"  {one.sentence}", "cyan") for one in found[:_STEPS]]


def _cells(shown: Shown, room: int) -> list[Text]:
    """Return a line a cell: what runs and what fails first if there is no room for all."""
    board = shown.board
    bad = set(troubled(board)) | set(board.troubles)
    known = [cell for cell in board.run.cells if cell.state is not State.SKIPPED or cell.cell in shown.cells]
    skipped = len(board.run.cells) - len(known)
    tail = [_line(f"  {count(skipped, 'cell')} skipped", "dim")] if skipped else []
    if len(known) + len(tail) > room:
        ranked = sorted(known, key=lambda c: (c.cell not in shown.cells, c.cell not in bad))
        kept = {cell.cell for cell in ranked[: max(room - len(tail) - 1, 1)]}
        tail = [_line(f"  … and {count(len(known) - len(kept), 'cell')} more", "dim"), *tail]
        known = [cell for cell in known if cell.cell in kept]
    width = max((len(cell.cell) for cell in known), default=0)
    return [*(_cell(shown, cell, width) for cell in known), *tail]


def _cell(shown: Shown, cell: CellResult, width: int) -> Text:
    line = _line(f"  {one_line(cell.cell):<{width}}  ")
    for case in cell.cases:
        pair = (cell.cell, case.case)
        if pair not in shown.board.entries:
            line.append("·", style="dim")
            continue
        found = wording.mark(case)
        old = shown.board.is_old(pair, shown.inputs)
        line.append(found.sign, style="dim" if old else _STYLES[found.key])
    step = next((one for one in shown.steps if one.cell == cell.cell), None)
    trouble = shown.board.troubles.get(cell.cell)
    if step:
        kind = {"module": "building", "test": "testing"}.get(step.name.partition(" ")[0], step.name)
        line.append(f"  {kind} {one_line(step.text)} {step.seconds:.0f} s", style="cyan")
    elif shown.running and cell.cell in shown.cells:
        line.append("  to do", style="cyan")
    elif trouble:
        line.append(f"  {_reason(trouble.cell).partition(':')[0]}", style="red")
    if any(shown.board.is_old((cell.cell, case.case), shown.inputs) for case in cell.cases):
        line.append("  old", style="dim")
    return line


def _turned(shown: Shown) -> list[Text]:
    found = []
    for one in shown.turned:
        red = one.change in RED
        text = f"  {'✗' if red else '✓'} {one.case}: {_sentence(one)}  [{one.cell}]"
        found.append(_line(one_line(text), "red" if red else "green"))
    return found


def _failing(shown: Shown) -> list[Text]:
    by_cell: dict[str, list[Pair]] = {}
    for pair in shown.board.failing():
        by_cell.setdefault(pair[0], []).append(pair)
    cells = list(by_cell)
    chosen = cells[min(shown.selected, len(cells) - 1)] if cells else ""
    # The marked cell is in sight.
    first = max(cells.index(chosen) - 2, 0) if chosen else 0
    results = {(cell.cell, case.case): case for cell, case in shown.board.run.results()}
    found = []
    for cell in cells[first:]:
        for number, pair in enumerate(by_cell[cell]):
            mark = "▸" if cell == chosen and number == 0 else " "
            text = f"{mark} {pair[1]}: {wording.sentence(results[pair])}  [{cell}]"
            found.append(_line(one_line(text), "dim" if shown.board.is_old(pair, shown.inputs) else ""))
    return found


def _block(heading: str, found: Sequence[Text], room: int) -> list[Text]:
    """Return a heading with the first of the lines, as many as there is room for."""
    if not found:
        return []
    shown = found[: max(room - 1, 1)]
    more = f" ({len(shown)} of {len(found)})" if len(shown) < len(found) else ""
    return [_line(f"{heading}{more}:", "bold"), *shown]


def end(board: Board, inputs: Inputs) -> RenderableType:
    """Return the last verdicts, for the terminal that gets them back."""
    failed = terminal_lines.failed_lines(board.run)
    return Group(terminal.Matrix(board.run), *failed, Text(total(board, inputs)))
