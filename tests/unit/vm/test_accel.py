"""The accelerator is the one that ran a program; stand-ins play QEMU with a KVM of every kind."""

import sys
import time
from pathlib import Path

import pytest

from kmodpipe.util.errors import InfraError
from kmodpipe.util.screen import Mode, Screen
from kmodpipe.vm import accel, accel_rom

PROGRAM = """#!{python}
import sys, time
args = " ".join(sys.argv)
if "--version" in sys.argv:
    print("QEMU emulator version {version}"); sys.exit(0)
with open({log!r}, "a") as f:
    f.write(args + "\\n")
machine = "kvm" if "accel=kvm" in args else "tcg"
cpu = sys.argv[sys.argv.index("-cpu") + 1]
def works():
    print("rpltfu", end="", flush=True); sys.exit({status})
{script}
"""
WORKS = "works()"
BROKEN_KVM = "works() if machine == 'tcg' else "


class World:
    """A folder with a stand-in for QEMU and one for /dev/kvm."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.log, self.kvm = folder, folder / "log", folder / "kvm"
        self.kvm.write_bytes(b"")

    def probe(self, script: str, *, version: str = "7.2", fresh: bool = False) -> accel.Accel:
        program = self.folder / "qemu"
        program.write_text(
            PROGRAM.format(
                python=sys.executable, log=str(self.log), script=script, version=version,
                status=accel_rom.EXIT_STATUS,
            )
        )  # fmt: skip
        program.chmod(0o755)
        return accel.probe(
            self.folder / "cache", Screen(Mode.QUIET), program=program, kvm=self.kvm, fresh=fresh
        )

    @property
    def runs(self) -> int:
        return len(self.log.read_text().splitlines())


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_kvm_that_works_is_taken_with_the_best_cpu(world: World) -> None:
    found = world.probe(WORKS)
    assert (found.name, found.cpu, found.confined) == ("kvm", "host", True)


def test_the_next_cpu_model_is_taken_where_the_best_fails(world: World) -> None:
    found = world.probe("works() if cpu != 'host' else sys.exit('MSR 0x10a')")
    assert (found.name, found.cpu) == ("kvm", "max")


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("(print('rp', end='', flush=True), time.sleep(60))", "hangs in protected mode"),
        ("time.sleep(60)", "hangs before its first instruction"),
        ("(print('rpltf', end='', flush=True), sys.exit(0))", "resets the machine on the way to user mode"),
        ("(print('rpltfu', end='', flush=True), sys.exit(1))", "wrong answer"),
        ("sys.exit('error: failed to set MSR 0x10a')", "failed to set MSR 0x10a"),
        (f"sys.exit({accel_rom.EXIT_STATUS})", "wrong answer"),
    ],
)
def test_kvm_that_does_not_run_the_program_is_not_taken(world: World, script: str, reason: str) -> None:
    started = time.monotonic()
    found = world.probe(BROKEN_KVM + script)
    assert found.name == "tcg"
    assert reason in found.reason and "TCG" in found.reason
    assert time.monotonic() - started < 10


def test_kvm_that_is_kept_waiting_does_not_hang(world: World) -> None:
    """It is stopped for longer than it may take."""
    stopped = "subprocess.Popen(['sh', '-c', f'sleep 4; kill -CONT {os.getpid()}'])"
    stop = f"import os, signal, subprocess; {stopped}; os.kill(os.getpid(), signal.SIGSTOP)"
    found = world.probe(f"if machine == 'kvm': {stop}\nworks()")
    assert (found.name, found.cpu) == ("kvm", "host")


def test_no_device_is_no_kvm(world: World) -> None:
    world.kvm.unlink()
    found = world.probe(WORKS)
    assert found.name == "tcg" and "there is no" in found.reason
    assert world.runs == 1


def test_the_answer_is_kept_until_something_changes(world: World) -> None:
    first = world.probe(WORKS)
    runs = world.runs
    assert world.probe("sys.exit(9)") == first
    assert world.runs == runs
    assert world.probe(BROKEN_KVM + "sys.exit(9)", version="8.0").name == "tcg"
    assert world.probe(WORKS, version="8.0").name == "tcg"
    assert world.probe(WORKS, version="8.0", fresh=True).name == "kvm"
    world.kvm.unlink()
    assert world.probe(WORKS, version="8.0").name == "tcg"


@pytest.mark.parametrize("text", ["", "{", "[]", '{"key": 1, "accel": {"nonsense": 1}}'])
def test_a_damaged_answer_is_asked_again(world: World, text: str) -> None:
    world.probe(WORKS)
    (world.folder / "cache" / "accel.json").write_text(text)
    assert world.probe(WORKS).name == "kvm"


def test_a_qemu_without_a_sandbox_runs_without(world: World) -> None:
    found = world.probe("works() if '-sandbox' not in args else sys.exit('-sandbox: not supported')")
    assert (found.name, found.confined) == ("kvm", False)


def test_nothing_that_works_is_an_error(world: World) -> None:
    with pytest.raises(InfraError, match="cannot run a test program"):
        world.probe("sys.exit('no memory')")


def test_no_qemu_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InfraError, match="not installed"):
        accel.probe(tmp_path, Screen(Mode.QUIET), program=tmp_path / "none")


# -- with the kernel at hand ---------------------------------------------------------------------------
BOOTS = "works() if '-bios' in args else (print('Run /init as init process', flush=True), time.sleep(60))"


def confirm(world: World, script: str, bound_s: float = 5) -> accel.Accel:
    found = world.probe(script)
    assert found.name == "kvm"
    kernel = world.folder / "bzImage"
    kernel.write_bytes(b"kernel")
    return accel.confirm(
        found, accel.ProofKernel(kernel, kernel, bound_s), world.folder / "cache", Screen(Mode.QUIET),
        program=world.folder / "qemu", kvm=world.kvm,
    )  # fmt: skip


def test_kvm_is_confirmed_once_for_a_kernel(world: World) -> None:
    assert confirm(world, BOOTS).name == "kvm"
    runs = world.runs
    assert confirm(world, BOOTS).name == "kvm"
    assert world.runs == runs


def test_kvm_that_does_not_run_the_kernel_is_given_up_for_good(world: World) -> None:
    script = "works() if '-bios' in args else None\nif machine == 'tcg': " + BOOTS + "\ntime.sleep(60)"
    found = confirm(world, script, bound_s=0.5)
    assert found.name == "tcg" and "not this kernel" in found.reason
    assert world.probe(script) == found


def test_a_kernel_that_runs_nowhere_says_nothing_about_kvm(world: World) -> None:
    assert confirm(world, "works() if '-bios' in args else sys.exit(0)").name == "kvm"
