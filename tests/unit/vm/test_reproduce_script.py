"""reproduce.sh, run by the machine's own sh with a QEMU that only pretends."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from kmodpipe.vm import initramfs, reproduce_script
from kmodpipe.vm.guest_root import members
from kmodpipe.vm.initramfs import BootContents, PlannedCase

MARK = "0123456789abcdef0123456789abcdef"
ARGV = (
    "qemu-fake", "-kernel", "@KERNEL@", "-initrd", "@INITRAMFS@", "-chardev", "file,id=v,path=@CHANNEL@",
    "-append", "console=ttyS0 it's $HOME `x` \"q\" *", "",
)  # fmt: skip


def stream(*bodies: str, start: int = 0) -> str:
    return "".join(f"KP {MARK} {seq} {'0' * 32} {body}\n" for seq, body in enumerate(bodies, start))


WHOLE = (
    "hello proto=1 release=5.10.223 version=%231%20SMP build_id=ab cmdline=console%3DttyS0 uptime_ms=900",
    "start case=0 id=uuid-remount-default",
    "obs case=0 key=outcome value=ESTALE",
    "out case=0 data=first%20",
    "out case=0 data=line%0Asecond%1B%5B2J%FF%25%0A",
    "out case=0 data=open",
    "kmsg case=0 level=4 ts_us=1234567 text=overlayfs:%20failed%20to%20verify",
    "beat uptime_ms=1900",
    "end case=0 how=exit status=0 ms=812 left=",
    "done cases=1",
)


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    """A run's folder with shared files and one cell, under names that a careless script breaks on."""
    run = tmp_path / "a run"
    cell = run / "cell 'x' $y"
    cell.mkdir(parents=True)
    (run / "shared").mkdir()
    (run / "shared" / "bzImage").write_bytes(b"kernel")
    (run / "shared" / "guest.cpio").write_bytes(b"guest\x00")
    (cell / "cell.cpio").write_bytes(b"cell\x00")
    return run


def write(run: Path, argv: Sequence[str] = ARGV, comment: dict[str, str] | None = None) -> Path:
    return reproduce_script.write(
        next(run.glob("cell*")),
        argv=argv,
        kernel="../shared/bzImage",
        initramfs_parts=["../shared/guest.cpio", "cell.cpio"],
        comment=comment or {"cell": "index-nouuid.INDEX=y"},
    )


def fake_qemu(folder: Path, said: str, *, status: int = 0, name: str = "qemu-fake") -> Path:
    """Notes its arguments and what they point at, prints a console, writes ``said`` to the channel."""
    folder.mkdir(exist_ok=True)
    (folder / "said").write_text(said)
    program = folder / name
    program.write_text(f"""#!{sys.executable}
import pathlib, sys
here = pathlib.Path({str(folder)!r})
(here / "args").write_text("\\0".join(sys.argv[1:]))
(here / "kernel").write_bytes(pathlib.Path(sys.argv[2]).read_bytes())
(here / "initramfs").write_bytes(pathlib.Path(sys.argv[4]).read_bytes())
print("[    0.000000] Linux version 5.10.223", flush=True)
pathlib.Path(sys.argv[6].partition("path=")[2]).write_text((here / "said").read_text())
sys.exit({status})
""")
    program.chmod(0o755)
    return folder


def start(
    script: Path, tools: Path | None, tmp_path: Path, *argv: str, **env: str
) -> subprocess.CompletedProcess[str]:
    scratch = tmp_path / "scratch"
    scratch.mkdir(exist_ok=True)
    path = f"{tools}:/usr/bin:/bin" if tools else "/usr/bin:/bin"
    done = subprocess.run(
        ["sh", str(script), *argv], cwd="/", env={"PATH": path, "TMPDIR": str(scratch), **env},
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert not list(scratch.iterdir()), "it leaves its scratch folder behind"
    return done


def test_boots_that_very_cell_and_shows_the_stream(run_dir: Path, tmp_path: Path) -> None:
    tools = fake_qemu(tmp_path / "tools", stream(*WHOLE))
    done = start(write(run_dir), tools, tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tools / "kernel").read_bytes() == b"kernel"
    assert (tools / "initramfs").read_bytes() == b"guest\x00cell\x00"
    args = (tools / "args").read_text().split("\0")
    assert args[7:] == [ARGV[8], ""]
    assert "Linux version 5.10.223" in done.stdout
    shown = done.stdout.splitlines()
    for line in (
        "case 0: uuid-remount-default",
        "    obs    outcome = ESTALE",
        "    out    first line",
        "           second\\x1b[2J\\xff%",
        "    out    open",
        "    kmsg   [    1.234567] overlayfs: failed to verify",
        "    end    case=0 how=exit status=0 ms=812 left=",
        "done   cases=1",
    ):
        assert line in shown, line
    assert not any("beat" in line for line in shown)


@pytest.mark.parametrize(
    "said",
    [
        "",
        stream(*WHOLE[:-1]),
        stream(*WHOLE[:3]) + stream("done cases=1", start=len(WHOLE) - 1),  # records are missing
        stream(*WHOLE[1:], start=1),  # so is the first one
        stream(*WHOLE[:-1]) + stream("done cases=1", start=len(WHOLE) - 1).replace(MARK, "f" * 32),
        stream(*WHOLE) + stream("start case=1 id=late", start=len(WHOLE)),
        "done cases=1\n" + stream(*WHOLE[:2]),
    ],
)
def test_without_a_final_record_it_is_no_success(run_dir: Path, tmp_path: Path, said: str) -> None:
    done = start(write(run_dir), fake_qemu(tmp_path / "tools", said), tmp_path)
    assert done.returncode == 1
    assert "did not end with its final record" in done.stderr


def test_qemu_missing_or_elsewhere(run_dir: Path, tmp_path: Path) -> None:
    script = write(run_dir, ("/opt/gone/qemu-fake", *ARGV[1:]))
    done = start(script, None, tmp_path)
    assert done.returncode == 3 and "apt install qemu-system-x86" in done.stderr
    tools = fake_qemu(tmp_path / "tools", stream(*WHOLE))
    assert start(script, tools, tmp_path).returncode == 0  # found by its name
    (tools / "qemu-fake").rename(tools / "my qemu")
    assert start(script, None, tmp_path, QEMU=str(tools / "my qemu")).returncode == 0


def test_a_failing_qemu_is_told_and_the_stream_still_shown(run_dir: Path, tmp_path: Path) -> None:
    done = start(write(run_dir), fake_qemu(tmp_path / "tools", stream(*WHOLE[:3]), status=5), tmp_path)
    assert done.returncode == 1 and "QEMU ended with status 5" in done.stderr
    assert "    obs    outcome = ESTALE" in done.stdout.splitlines()


def test_a_missing_file_is_named(run_dir: Path, tmp_path: Path) -> None:
    script = write(run_dir)
    (run_dir / "shared" / "guest.cpio").unlink()
    done = start(script, fake_qemu(tmp_path / "tools", ""), tmp_path)
    assert done.returncode == 3 and "../shared/guest.cpio is missing" in done.stderr


def test_the_run_folder_can_be_moved(run_dir: Path, tmp_path: Path) -> None:
    script = write(run_dir)
    moved = tmp_path / "elsewhere"
    run_dir.rename(moved)
    tools = fake_qemu(tmp_path / "tools", stream(*WHOLE))
    assert start(moved / script.relative_to(run_dir), tools, tmp_path).returncode == 0


def test_the_disk_with_the_tools_is_found_by_a_plain_name(run_dir: Path, tmp_path: Path) -> None:
    image = run_dir / "shared/tools a,b.img"
    image.write_text("the tools")
    script = reproduce_script.write(
        next(run_dir.glob("cell*")), argv=[*ARGV[:-1], f"filename={reproduce_script.TOOLS_NAME}"],
        kernel="../shared/bzImage", initramfs_parts=["../shared/guest.cpio"], comment={},
        tools=f"../shared/{image.name}",
    )  # fmt: skip
    tools = fake_qemu(tmp_path / "tools", stream(*WHOLE))
    program = tools / "qemu-fake"
    check = '(here / "disk").write_text(pathlib.Path(sys.argv[-1].partition("=")[2]).read_text())\n'
    program.write_text(program.read_text().replace("print(", f"{check}print(", 1))
    assert start(script, tools, tmp_path).returncode == 0
    assert (tools / "disk").read_text() == "the tools"
    image.unlink()
    done = start(script, tools, tmp_path)
    assert done.returncode == 3 and "tools a,b.img is missing" in done.stderr


def test_no_comment_breaks_out(run_dir: Path, tmp_path: Path) -> None:
    marker = tmp_path / "pwned"
    evil = {"tree": f"x\ntouch '{marker}'\r\ntouch '{marker}'", f"a\ntouch '{marker}'": "@PARTS@ \x1b[2J"}
    script = write(run_dir, comment=evil)
    assert start(script, fake_qemu(tmp_path / "tools", stream(*WHOLE)), tmp_path).returncode == 0
    assert not marker.exists() and os.access(script, os.X_OK)
    assert "\x1b" not in script.read_text()


@pytest.mark.parametrize("kernel", ["/abs/bzImage", "", "-x"])
def test_only_relative_paths(run_dir: Path, kernel: str) -> None:
    with pytest.raises(ValueError, match="not a path relative"):
        reproduce_script.script(ARGV, kernel=kernel, initramfs_parts=["a"], comment={})


@pytest.mark.parametrize("shell", ["dash", "bash", "busybox"])
def test_syntax_in_other_shells(run_dir: Path, shell: str) -> None:
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"there is no {shell} on this machine")
    argv = [program, "sh"] if shell == "busybox" else [program]
    checked = subprocess.run([*argv, "-n", str(write(run_dir))], capture_output=True, text=True, check=False)
    assert (checked.returncode, checked.stderr) == (0, "")


# -- by hand ---------------------------------------------------------------------------------------------
SECTIONS = (
    "module name=kp_echo build_id=ab",
    "section module=kp_echo name=.data address=0xffffffffc0203000",
    "section module=kp_echo name=.text address=0xffffffffc0201000",
    "section module=kp_echo name=.init.text address=0xffffffffc0205000",
    "section module=kp_echo name=.text%0Ashell%20id address=0xffffffffc0205000",
    "shell",
)


@pytest.fixture
def by_hand(run_dir: Path) -> Path:
    """A script of a cell with two cases and a module."""
    cell = next(run_dir.glob("cell*"))
    case, module = cell / "case.sh", cell / "kp-echo.ko"
    case.write_text("true")
    module.write_bytes(b"\x7fELF" + bytes(range(256)))
    cases = [PlannedCase(n, name, 5, case) for n, name in enumerate(("first", "first-again"))]
    lib = cell / "lib.sh"
    lib.touch()
    initramfs.pack_cell(cell / "cell.cpio", BootContents(MARK, lib, modules=[module], cases=cases))
    argv = [*ARGV[:-2], "console=ttyS0 nolapic@WORDS@"]
    return reproduce_script.write(
        cell, argv=argv, kernel="../shared/bzImage", comment={}, vmlinux="/nowhere/vmlinux",
        initramfs_parts=["../shared/guest.cpio", "cell.cpio"], packed=members(cell / "cell.cpio"),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        ([], ""),
        (["--shell"], " kmodpipe.shell"),
        (["--case", "first"], " kmodpipe.shell kmodpipe.case=first"),
        (["--case=first-again", "--shell"], " kmodpipe.shell kmodpipe.case=first-again"),
        (["--gdb"], " kmodpipe.shell nokaslr kmodpipe.gdb"),
        (["--gdb", "--case", "first"], " kmodpipe.shell kmodpipe.case=first nokaslr kmodpipe.gdb"),
    ],
)
def test_the_kernel_is_told_how_it_is_used(
    by_hand: Path, tmp_path: Path, argv: list[str], words: str
) -> None:
    tools = fake_qemu(tmp_path / "tools", stream(*WHOLE) if not argv else "")
    done = start(by_hand, tools, tmp_path, *argv)
    assert done.returncode == 0, done.stderr
    args = (tools / "args").read_text().split("\0")
    assert args[args.index("-append") + 1] == f"console=ttyS0 nolapic{words}"
    assert ("-gdb" in args) == ("--gdb" in argv)
    assert ("verdict stream" in done.stdout) == (not argv)


def test_its_help_names_the_cases(by_hand: Path, tmp_path: Path) -> None:
    done = start(by_hand, None, tmp_path, "--help")
    assert done.returncode == 0 and "cases: first first-again\n" in done.stdout


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["--case"], "--case takes the name of a case"),
        (["--case", ""], "there is no case '' in this guest"),
        (["--case=fir"], "there is no case 'fir' in this guest"),
        (["--case", "first first-again"], "there is no case"),
        (["--sell"], "unknown argument '--sell'"),
        (["first"], "unknown argument 'first'"),
    ],
)
def test_a_wrong_argument_boots_nothing(by_hand: Path, tmp_path: Path, argv: list[str], said: str) -> None:
    tools = fake_qemu(tmp_path / "tools", "")
    done = start(by_hand, tools, tmp_path, *argv)
    assert done.returncode == 2 and said in done.stderr
    assert not (tools / "args").exists()


def test_gdb_is_told_where_the_modules_are(by_hand: Path, tmp_path: Path) -> None:
    tools = fake_qemu(tmp_path / "tools", stream(*SECTIONS))
    program = tools / "qemu-fake"
    wait = (
        "import time\n"
        "scratch = pathlib.Path.cwd()\n"
        "until = time.monotonic() + 20\n"
        "while not (scratch / 'gdb.commands').exists() and time.monotonic() < until: time.sleep(0.1)\n"
        "time.sleep(0.5)\n"
        "(here / 'commands').write_text((scratch / 'gdb.commands').read_text())\n"
        "(here / 'module').write_bytes((scratch / 'kp_echo.ko').read_bytes())\n"
        "(here / 'scratch').write_text(str(scratch))\n"
    )
    program.write_text(program.read_text().replace("sys.exit(", f"{wait}sys.exit("))
    done = start(by_hand, tools, tmp_path, "--gdb")
    assert done.returncode == 0, done.stderr
    scratch = (tools / "scratch").read_text()
    assert f"gdb -x {scratch}/gdb.commands" in done.stderr
    assert (tools / "commands").read_text().splitlines() == [
        "set pagination off",
        f"target remote {scratch}/gdb",
        f'add-symbol-file "{scratch}/kp_echo.ko" 0xffffffffc0201000 -s .data 0xffffffffc0203000',
        "set pagination on",
    ]
    assert (tools / "module").read_bytes() == b"\x7fELF" + bytes(range(256))
