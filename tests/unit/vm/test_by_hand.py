"""A guest that is used by hand: the words of its command line, and what gdb is told."""

from __future__ import annotations

from pathlib import Path

from kmodpipe.vm import by_hand
from kmodpipe.vm.by_hand import Debugged, ModuleWatch
from kmodpipe.vm.protocol import Record, encode_record

NONCE = "0123456789abcdef0123456789abcdef"
GUEST = Debugged(
    Path("/tmp/k/gdb"), Path("/c/vm linux"), {"kp_echo": Path('/m/kp-"echo".ko')}, Path("/c/source")
)


def section(module: str, name: str, address: str) -> dict[str, str]:
    return {"module": module, "name": name, "address": address}


SENT = (
    section("kp_echo", ".data", "0xffffffffc0203000"),
    section("kp_echo", ".text", "0xffffffffc0201000"),
    section("kp_echo", ".init.text", "0xffffffffc0209000"),
    section("kp_echo", ".note.gnu.build-id", "0xffffffffc0209100"),
    section("elsewhere", ".text", "0xffffffffc0301000"),
)


def test_the_words_of_the_command_line() -> None:
    assert by_hand.words() == "kmodpipe.shell"
    assert by_hand.words(run="a.b", gdb=True) == "kmodpipe.shell kmodpipe.case=a.b nokaslr kmodpipe.gdb"
    assert by_hand.words(folder=True) == "kmodpipe.shell pci=nomsi"


def test_gdb_is_told_what_outlives_the_modules_start() -> None:
    records = [Record(seq, "section", fields) for seq, fields in enumerate(SENT)]
    assert by_hand.gdb_commands(records, GUEST).splitlines() == [
        "set pagination off",
        'file "/c/vm linux"',
        'directory "/c/source"',
        "target remote /tmp/k/gdb",
        r'add-symbol-file "/m/kp-\"echo\".ko" 0xffffffffc0201000 -s .data 0xffffffffc0203000',
        "set pagination on",
    ]


def test_a_guest_gives_no_commands() -> None:
    evil = [
        section("kp_echo", ".text", "0x1000"),
        section("kp_echo", ".data", "0x2000\nshell touch /tmp/pwned"),
        section("kp_echo", ".bss\nshell id", "0x3000"),
        section("kp_echo", ".rodata", "4096"),
        section("kp_echo\nshell id", ".text", "0x5000"),
    ]
    text = by_hand.gdb_commands([Record(n, "section", one) for n, one in enumerate(evil)], GUEST)
    assert [line for line in text.splitlines() if "0x" in line or "shell" in line] == [
        r'add-symbol-file "/m/kp-\"echo\".ko" 0x1000'
    ]


def test_the_file_is_written_once_the_shell_begins(tmp_path: Path) -> None:
    channel, commands = tmp_path / "channel", tmp_path / "gdb.commands"
    watch = ModuleWatch(channel, NONCE, GUEST, commands)
    assert not watch.look(), "QEMU has not made the channel yet"
    lines = [encode_record(NONCE, seq, "section", fields) for seq, fields in enumerate(SENT)]
    lines.append(encode_record(NONCE, len(SENT), "shell", {}))
    whole = b"".join(lines)
    channel.write_bytes(whole[:150])
    assert not watch.look() and not commands.exists()
    channel.write_bytes(whole)
    assert watch.look() and "0xffffffffc0201000" in commands.read_text()
    assert not watch.look(), "it is said once"
