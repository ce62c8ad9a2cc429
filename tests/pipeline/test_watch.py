"""`invoke watch` in the toy world: real keys on a real terminal, real files that are saved, real signals."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support import toy
from tests.support.processes import alive
from tests.support.terminal import ALTERNATE, CURSOR, NORMAL, Terminal
from tests.support.toy import World

# They wait for what a screen shows, which takes its time beside other tests.
pytestmark = [pytest.mark.thorough, pytest.mark.timeout(240)]
PATCH = "patches/toy-fix/0001-toy-mount.patch"
FIXED = "toy-fix.INDEX=y.NOUUID=n"
GREEN, RED = "✓ 5 as expected", "✗ 2 as expected, 3 failing"
Start = Callable[..., Terminal]


@pytest.fixture
def world(tmp_path: Path) -> World:
    return toy.build(tmp_path)


@pytest.fixture
def start(world: World) -> Iterator[Start]:
    """Begin to watch on a terminal; what is left of it ends with the test."""
    begun: list[Terminal] = []

    def begin(*argv: str, **size: int) -> Terminal:
        env = {name: value for name, value in world.environment().items() if name != "COLUMNS"}
        line = [sys.executable, "-m", "invoke", "watch", "--runtime", "host", *argv]
        begun.append(Terminal(line, world.root, env, **size))
        return begun[-1]

    yield begin
    for one in begun:
        one.close()


def save(world: World, old: str, new: str, name: str = PATCH) -> None:
    """Save a file as most editors do: write another one, and rename it."""
    path = world.root / name
    text = path.read_text()
    assert old in text
    part = path.with_name(f"{path.name}~")
    part.write_text(text.replace(old, new, 1))
    part.replace(path)


def runs(world: World) -> list[Path]:
    return [path for path in (world.root / "out/watch").glob("2*") if path.is_dir()]


def guests(world: World) -> list[int]:
    """The processes that play QEMU for this world."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and alive(int(entry.name)):
            try:
                command, environment = (entry / "cmdline").read_bytes(), (entry / "environ").read_bytes()
            except OSError:
                continue
            if b"qemu-system-x86_64.py" in command and f"TOY_CALLS={world.calls}".encode() in environment:
                found.append(int(entry.name))
    return found


def require_sane(terminal: Terminal) -> None:
    """The terminal is as it was: its settings, its screen and its cursor."""
    assert terminal.settings == terminal.before
    assert terminal.raw.rindex(NORMAL) > terminal.raw.rindex(ALTERNATE)
    assert CURSOR in terminal.raw[terminal.raw.rindex(NORMAL) - 40 :]


def test_rounds_of_saves_good_and_broken_ones_until_a_key_quits(world: World, start: Start) -> None:
    terminal = start()
    terminal.wait("round 1", GREEN, "q quit")
    assert terminal.settings != terminal.before
    # It turns red, and the screen says what and where.
    terminal.mark()
    save(world, "+outcome: mounted", "+outcome: EINVAL")
    terminal.wait(
        "series toy-fix", RED, "since the last save", "✗ remount: expected mounted, observed EINVAL: the"
    )
    # What does not build keeps the verdicts, and quotes the compiler.
    terminal.mark()
    save(world, "+outcome: EINVAL", "+BROKEN")
    terminal.wait("does not build: fs/toy/toy.c:2: 'BROKEN' undeclared", "observed EINVAL", "old")
    # So does what does not apply.
    terminal.mark()
    save(world, "-outcome: ESTALE", "-outcome: nonsense")
    terminal.wait("the last save is broken", "0001-toy-mount.patch does not apply", "observed EINVAL")
    # And what cannot be read at all.
    terminal.mark()
    save(world, "[axes.INDEX]", "[axes.INDEX", "kconfigs/matrix.toml")
    terminal.wait("the last save is broken", "not TOML", "observed EINVAL")
    terminal.mark()
    save(world, "[axes.INDEX", "[axes.INDEX]", "kconfigs/matrix.toml")
    save(world, "-outcome: nonsense", "-outcome: ESTALE")
    save(world, "+BROKEN", "+outcome: mounted")
    # It is compared with the last verdicts, which were red.
    terminal.wait(GREEN, "since the last save", "✓ remount: ")
    terminal.press("q")
    assert terminal.end() == 0
    require_sane(terminal)
    assert "5 as expected" in terminal.text and FIXED in terminal.text
    assert guests(world) == []


def test_a_series_that_is_renamed_or_another_folder_is_read_again(world: World, start: Start) -> None:
    """As a checkout of another branch, or a copy that is put in its place."""
    folder, aside = world.root / "patches/toy-fix", world.root / "aside"
    terminal = start("--series", "toy-fix")
    terminal.wait(GREEN)
    terminal.mark()
    folder.rename(aside)
    terminal.wait("the last save is broken", "toy-fix")
    terminal.mark()
    shutil.copytree(aside, world.root / "other")
    save(world, "+outcome: mounted", "+outcome: EINVAL", "other/0001-toy-mount.patch")
    (world.root / "other").rename(folder)
    terminal.wait(RED)
    terminal.mark()
    shutil.rmtree(folder)
    shutil.copytree(aside, folder)
    terminal.wait(GREEN)
    # It is this folder that is watched now.
    terminal.mark()
    save(world, "+outcome: mounted", "+outcome: EINVAL")
    terminal.wait(RED)
    terminal.press("q")
    assert terminal.end() == 1


# A command line of which the first reading is followed by a save, before anything is watched.
SAVED_EARLY = """
import sys
from pathlib import Path
from kmodpipe.cli.invocation import Invocation
from kmodpipe.cli.options import WatchOptions
from kmodpipe.cli.resolve import resolve
from kmodpipe.util.screen import Mode, Screen
from kmodpipe.watch.loop import Loop
from kmodpipe.watch.state import Commands, Settings

call = Invocation(Path.cwd(), "", Screen(Mode.PLAIN))
read = lambda screen: resolve(WatchOptions(runtime="host"), call, cases_too=True)
first = read(call.screen)
patch = Path(sys.argv[1])
patch.write_text(patch.read_text().replace("+outcome: mounted", "+outcome: EINVAL"))
loop = Loop(Commands(read, (), lambda cell: None, call.cache), call.screen, Settings(Path("out/watch")))
sys.exit(int(loop.run(first)))
"""


def test_a_save_before_anything_is_watched_counts(world: World) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", SAVED_EARLY, PATCH],
        cwd=world.root, env=world.environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert child.stdout and child.stderr
    try:
        while "failing" not in (line := child.stdout.readline()):
            assert line, child.stderr.read()
        child.send_signal(signal.SIGINT)
        assert child.wait(60) == 1
    finally:
        child.kill()


def test_only_what_reads_the_change_runs_again_and_the_rest_by_a_key(world: World, start: Start) -> None:
    terminal = start()
    terminal.wait(GREEN)
    (first,) = runs(world)
    terminal.mark()
    save(world, "+outcome: mounted", "+outcome: EINVAL")
    terminal.wait(RED)
    (second,) = set(runs(world)) - {first}
    booted = {path.parent.name for path in second.glob("*/console.log")}
    assert booted and all(name.startswith("toy-fix.") for name in booted)
    # A cover letter, a remark and a swap file are no change.
    (world.root / "patches/toy-fix/.0001-toy-mount.patch.swp").write_text("x")
    (world.root / "README.md").write_text("x")
    save(world, "makes it mount", "makes it mount again", "patches/toy-fix/series.toml")
    time.sleep(1.5)
    assert len(runs(world)) == 2
    terminal.press("a")
    terminal.wait(RED, behind="all, by hand")
    (third,) = set(runs(world)) - {first, second}
    assert {p.parent.name.partition(".")[0] for p in third.glob("*/console.log")} == {"toy-fix", "unpatched"}
    terminal.press("q")
    # What failed is the exit code.
    assert terminal.end() == 1


def test_a_save_stops_the_round_that_it_makes_out_of_date(world: World, start: Start) -> None:
    terminal = start()
    terminal.wait(GREEN)
    terminal.mark()
    save(world, "observe-module", "sleep 60", "images/guest/cases/remount/run.sh")
    save(world, "timeout_s = 5", "timeout_s = 90", "images/guest/cases/remount/case.toml")
    terminal.wait("testing remount")
    stuck = guests(world)
    assert stuck
    terminal.mark()
    save(world, "sleep 60", "observe-module", "images/guest/cases/remount/run.sh")
    # Well before the guests would have ended.
    terminal.wait(GREEN, within_s=45)
    assert not any(alive(pid) for pid in stuck)
    terminal.press("q")
    assert terminal.end() == 0


def test_a_round_goes_on_where_a_save_concerns_none_of_what_is_left(world: World, start: Start) -> None:
    """Another series changes while the cell of the first one is the last that runs."""
    release, other = world.root / "release", world.root / "patches/other"
    other.mkdir()
    for name in ("series", "0001-toy-mount.patch"):
        (other / name).write_text((world.root / "patches/toy-fix" / name).read_text())
    (other / "series.toml").write_text('summary = "the same"\nmodule = "fs/toy"\ndesign = "toy-fix"\n')
    cells = ("--series", "other", "--series", "toy-fix", "--cell", "*INDEX=y.NOUUID=n")
    script = world.script("until.sh", f"until {release}")
    terminal = start(*cells, "--no-control", "--case", script)
    release.touch()
    terminal.wait("✓ 2 as expected")
    release.unlink()
    save(world, "+outcome: mounted", "+outcome: EINVAL")
    terminal.mark()
    terminal.wait("testing until")
    (guest,) = guests(world)
    terminal.mark()
    save(world, "+outcome: mounted", "+outcome: EINVAL", "patches/other/0001-toy-mount.patch")
    terminal.wait("old")
    assert guests(world) == [guest] and alive(guest)
    release.touch()
    # Both have a verdict of the files as they are now, from a round each.
    terminal.wait("✓ 2 as expected", behind="round 3")
    terminal.press("q")
    assert terminal.end() == 0


def test_a_branch_is_tested_as_it_moves_and_not_in_the_middle_of_a_rebase(
    world: World, start: Start, tmp_path: Path
) -> None:
    repository = tmp_path / "linux"
    shutil.copytree(world.tree, repository)

    def git(*argv: str) -> None:
        identity = ("-c", "user.name=t", "-c", "user.email=t@localhost.invalid")
        subprocess.run(["git", *identity, *argv], cwd=repository, check=True, capture_output=True)

    git("init", "-q", "-b", "main")
    git("add", ".")
    git("commit", "-qm", "base")
    git("checkout", "-qb", "topic")
    source = repository / "fs/toy/toy.c"
    source.write_text(toy.TOY_C.replace("ESTALE", "mounted"))
    git("commit", "-qam", "toy: mount")
    terminal = start(
        "--series", f"{repository}#main..topic", "--design", "toy-fix", "--cell", "*INDEX=n.NOUUID=n"
    )
    terminal.wait("✓ 2 as expected")
    terminal.mark()
    source.write_text(toy.TOY_C.replace("ESTALE", "EINVAL"))
    # What is not committed is no part of a branch.
    git("commit", "-qa", "--amend", "-m", "toy: mount")
    terminal.wait("series topic", "✗ 1 as expected, 1 failing")
    terminal.mark()
    (repository / ".git/rebase-merge").mkdir()
    source.write_text(toy.TOY_C.replace("ESTALE", "mounted"))
    git("commit", "-qa", "--amend", "-m", "toy: mount")
    # How much of the path follows is a matter of the screen's width.
    terminal.wait(f"a change waits: a rebase in {str(repository)[:20]}")
    assert len(runs(world)) == 2
    (repository / ".git/rebase-merge").rmdir()
    terminal.wait("✓ 2 as expected")
    terminal.press("q")
    assert terminal.end() == 0


def test_the_round_stops_by_a_key_and_the_next_save_goes_on(world: World, start: Start) -> None:
    terminal = start()
    terminal.wait(GREEN)
    save(world, "observe-module", "sleep 60", "images/guest/cases/remount/run.sh")
    save(world, "timeout_s = 5", "timeout_s = 90", "images/guest/cases/remount/case.toml")
    terminal.mark()
    terminal.wait("testing remount")
    terminal.press("x")
    terminal.wait("older than the last save", within_s=30)
    assert guests(world) == []
    terminal.mark()
    save(world, "sleep 60", "observe-module", "images/guest/cases/remount/run.sh")
    terminal.wait(GREEN)
    terminal.press("q")
    assert terminal.end() == 0


@pytest.mark.parametrize("how", ["Ctrl-C", "SIGTERM", "SIGHUP"])
def test_however_it_ends_the_terminal_is_as_it_was_and_no_guest_is_left(
    world: World, start: Start, how: str
) -> None:
    terminal = start("--case", world.script("slow.sh", "sleep 60"))
    terminal.wait("testing slow")
    assert guests(world)
    if how == "Ctrl-C":
        terminal.press("\x03")
    else:
        os.kill(terminal.child.pid, getattr(signal, how))
    # Nothing has a verdict.
    assert terminal.end() == 3
    require_sane(terminal)
    assert guests(world) == []


def test_even_killed_it_leaves_a_terminal_that_can_be_used(world: World, start: Start) -> None:
    terminal = start("--case", world.script("slow.sh", "sleep 60"))
    terminal.wait("testing slow")
    running = guests(world)
    terminal.child.kill()
    deadline = time.monotonic() + 30
    while terminal.settings != terminal.before or any(alive(pid) for pid in running):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    terminal.end()
    require_sane(terminal)


def test_another_size_of_the_terminal_is_drawn_at_once(world: World, start: Start) -> None:
    terminal = start(columns=120, lines=30)
    terminal.wait(GREEN)
    assert max(map(len, terminal.picture)) > 60
    terminal.resize(60, 12)
    os.kill(terminal.child.pid, signal.SIGWINCH)
    deadline = time.monotonic() + 20
    while max(map(len, terminal.picture)) > 60:
        assert time.monotonic() < deadline
        terminal.mark()
        time.sleep(0.05)
    terminal.press("q")
    assert terminal.end() == 0
    require_sane(terminal)


def test_ctrl_z_gives_the_terminal_back_until_it_goes_on(world: World, start: Start) -> None:
    terminal = start()
    terminal.wait(GREEN)
    terminal.press("\x1a")
    deadline = time.monotonic() + 20
    while Path(f"/proc/{terminal.child.pid}/stat").read_text().rpartition(")")[2].split()[0] != "T":
        assert time.monotonic() < deadline
        time.sleep(0.05)
    terminal.mark()
    require_sane(terminal)
    os.killpg(terminal.child.pid, signal.SIGCONT)
    terminal.wait("q quit")
    deadline = time.monotonic() + 20
    while terminal.settings == terminal.before:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    terminal.press("q")
    assert terminal.end() == 0


def test_a_pipe_gets_lines_and_no_keys_are_read(world: World) -> None:
    child = world.start("watch", "--runtime", "host", "--keep", "1")
    out, err = child.stdout, child.stderr
    assert out and err
    try:
        assert out.readline()
        while "5 as expected" not in (line := out.readline()):
            assert line, err.read()
        for new in ("EINVAL", "ENOENT"):
            save(world, "+outcome: " + ("mounted" if new == "EINVAL" else "EINVAL"), f"+outcome: {new}")
            seen = []
            while not seen or "failing" not in seen[-1]:
                seen.append(out.readline())
                assert seen[-1], err.read()
            assert any(line.startswith(f"turned red: {FIXED} remount: ") for line in seen), seen
        child.send_signal(signal.SIGTERM)
        text, told = child.communicate(timeout=60)
    finally:
        child.kill()
    assert child.returncode == 1 and FIXED in text
    assert "round 3 ended: first verdict " in told and "\x1b" not in text + told
    # The last round's, and the control's of the first one, which is on the screen.
    assert len(runs(world)) == 2


def test_what_is_wrong_at_the_beginning_is_a_usage_error(world: World) -> None:
    for argv in (["--series", "toy-fxi"], ["--keep", "0"], ["--sample", "2"], ["--cell", "nope"]):
        ran = world.invoke("watch", "--runtime", "host", *argv)
        assert ran.code == 2, ran.text
        assert "error: " in ran.err
