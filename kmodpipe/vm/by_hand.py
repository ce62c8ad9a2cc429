"""A guest that is used by hand: what its kernel's command line says, and what gdb is told of its modules.

The words are read by the agent (images/guest/agent/shell.c), which sends the addresses. gdb's commands are
also made by reproduce.sh, without this file (`reproduce_script`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from kmodpipe.util.files import write_atomically
from kmodpipe.vm.protocol import Channel, Record

# Sections with code or data that outlive the module's initialisation.
SECTIONS = r"\.(text(\.unlikely)?|noinstr\.text|exit\.text|data|rodata|bss)"
"""The names of the sections that gdb is told of, as a regular expression of Python and of awk."""
_SECTION = re.compile(SECTIONS, re.ASCII)
_ADDRESS = re.compile(r"0x[0-9a-f]{1,16}", re.ASCII)


GDB_WORDS = "nokaslr kmodpipe.gdb"
"""For a kernel that gdb attaches to: its code is at the addresses of its file."""


def words(*, run: str = "", gdb: bool = False, folder: bool = False) -> str:
    """Return the words for a kernel's command line: a shell, which begins with the case ``run`` if any.

    ``folder``: there is a folder of the host. Its device has to do without the local APIC, as all have.
    """
    found = ["kmodpipe.shell"]
    found += [f"kmodpipe.case={run}"] if run else []
    found += [GDB_WORDS] if gdb else []
    found += ["pci=nomsi"] if folder else []
    return " ".join(found)


@dataclass(frozen=True)
class Debugged:
    """What gdb needs of a guest beside the addresses of its modules."""

    socket: Path
    vmlinux: Path
    # The files of the modules, by the modules' names.
    modules: Mapping[str, Path]
    # The folder that the paths in their debugging information are relative to.
    sources: Path


def gdb_commands(sections: Iterable[Record], guest: Debugged) -> str:
    """Return the commands with which gdb attaches to a guest that sent these records of its ``sections``."""
    at: dict[str, dict[str, str]] = {}
    for record in sections:
        name, address = record.fields.get("name", ""), record.fields.get("address", "")
        # It becomes a command of gdb.
        if _SECTION.fullmatch(name) and _ADDRESS.fullmatch(address):
            at.setdefault(record.fields.get("module", ""), {})[name] = address
    lines = [
        "set pagination off",
        f"file {_quoted(guest.vmlinux)}",
        f"directory {_quoted(guest.sources)}",
        f"target remote {guest.socket}",
    ]
    for module, found in at.items():
        if module in guest.modules and ".text" in found:
            others = [f"-s {name} {address}" for name, address in found.items() if name != ".text"]
            file = _quoted(guest.modules[module])
            lines.append(" ".join(["add-symbol-file", file, found[".text"], *others]))
    lines.append("set pagination on")
    return "".join(f"{line}\n" for line in lines)


def _quoted(path: Path) -> str:
    escaped = str(path).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


class ModuleWatch:
    """Writes gdb's commands to a file as soon as the guest has sent where its modules are."""

    def __init__(self, channel: Path, nonce: str, guest: Debugged, to: Path) -> None:
        """``channel`` is the file that the guest's records come to, ``to`` the one to write."""
        self._channel = channel
        self._parser = Channel(nonce)
        self._guest = guest
        self._to = to
        self._read = 0
        self._sections: list[Record] = []
        self._done = False

    def look(self) -> bool:
        """Read what has come; return whether the file was written by this call."""
        if self._done or not self._channel.exists():
            return False
        with self._channel.open("rb") as f:
            f.seek(self._read)
            data = f.read()
        self._read += len(data)
        for record in self._parser.feed(data):
            if record.type == "section":
                self._sections.append(record)
            self._done = self._done or record.type == "shell"
        if self._done:
            write_atomically(self._to, gdb_commands(self._sections, self._guest))
        return self._done
