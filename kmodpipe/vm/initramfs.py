"""Pack the guest's initramfs, byte for byte reproducible.

It is a sequence of cpio archives, which the kernel unpacks one after the other:

    rootfs    /init, busybox, e2fsprogs, the agent: made once, from what images/guest/recipe.sh collects
    toolset   further programs, if the flavour or a case needs them: likewise, by images/guest/toolset.sh,
              or of Debian packages; of large ones links to a disk (`DISK`)
    cell      /kmodpipe/plan, lib.sh, <module>.ko, cases/<id>/...: made for each boot

Archives are in the newc format (Documentation/driver-api/early-userspace/buffer-format.rst), with uid 0,
mtime 0, sorted names and normalised modes, so that they depend on neither machine, user nor time. They are
not compressed: under TCG unpacking costs more than copying.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from kmodpipe.util.errors import UserError
from kmodpipe.vm.devices import FOLDER_TAG, TOOLS_SERIAL, HostFolder
from kmodpipe.vm.protocol import encode_value

# The folder in the guest, relative to /, of the plan, the modules and the cases.
HOME = "kmodpipe"
# Where the disk with the tools is mounted, if there is one.
DISK = f"{HOME}/disk"
FOLDER = "host"
"""Where a folder of the host is mounted, relative to /."""

_ALIGN = 4
_TRAILER = "TRAILER!!!"
_MAX_SIZE = 0xFFFFFFFF
# Of the archives of a guest's tools and of its cell: what every guest has room for, and what none may have.
_SMALL_MIB = 16
_MOST_MIB = 1024
_NODES = {"dev/console": (5, 1)}  # the kernel opens it for /init; devtmpfs has all other nodes
_NONCE = re.compile(r"[0-9a-f]{32}")
_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
CASE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True)
class Entry:
    """One archive member."""

    name: str  # relative to /
    mode: int  # type and permission bits
    content: bytes | Path = b""  # the bytes, or the file to read them from
    device: tuple[int, int] = (0, 0)  # major and minor number of a device node


@dataclass(frozen=True)
class PlannedCase:
    """A case as one boot runs it."""

    index: int  # in the cell
    id: str
    timeout_s: float
    script: Path
    args: tuple[str, ...] = ()
    # Packed beside the script: files, and folders with all that is in them, by their path there.
    extra_files: Mapping[str, Path] = field(default_factory=dict)

    @property
    def guest_script(self) -> str:
        """The script's path in the guest."""
        return f"/{HOME}/cases/{self.id}/{self.script.name}"


@dataclass(frozen=True)
class BootContents:
    """What the agent does in one boot, and the files for it."""

    # The key of the verdict channel: 32 hex digits.
    nonce: str
    # The cases' shell library.
    lib: Path
    # In the order in which they are loaded. The last is the module under test.
    modules: Sequence[Path] = ()
    # By the name of its file: ``{"overlay.ko": "index=2 xino=on"}``.
    module_params: Mapping[str, str] = field(default_factory=dict)
    cases: Sequence[PlannedCase] = ()
    # Environment of the cases and of a shell, in addition to what the agent sets.
    env: Mapping[str, str] = field(default_factory=dict)
    # Mount the disk with the tools at `DISK`.
    with_disk: bool = False
    # Of the host, for a guest that is used by hand (`by_hand`).
    folder: HostFolder | None = None
    # Multiplies the agent's own time limits.
    slow: float = 1.0
    # Take the modules' counters of what is executed after every case.
    counters: bool = False


def folder(name: str) -> Entry:
    """Return the member for a folder."""
    return Entry(name, stat.S_IFDIR | 0o755)


def regular(name: str, content: bytes | Path, *, executable: bool = False) -> Entry:
    """Return the member for a regular file."""
    return Entry(name, stat.S_IFREG | (0o755 if executable else 0o644), content)


def newc(entries: Iterable[Entry], out: BinaryIO) -> None:
    """Write ``entries``, sorted by name, as one newc archive whose size is a multiple of four.

    Missing parent folders are added, as the kernel creates none by itself. Raises UserError if a file is
    larger than the format allows (4 GiB) or changes while it is read.
    """
    members = {e.name: e for e in entries}
    for name in list(members):
        while name := name.rpartition("/")[0]:
            members.setdefault(name, folder(name))
    # Sorted by components, so that a folder comes before its contents.
    for inode, name in enumerate(sorted(members, key=lambda n: n.split("/")), start=1):
        _write_member(out, members[name], inode)
    _write_member(out, Entry(_TRAILER, 0), 0)


def _write_member(out: BinaryIO, entry: Entry, inode: int) -> None:
    size = entry.content.stat().st_size if isinstance(entry.content, Path) else len(entry.content)
    if size > _MAX_SIZE:
        raise UserError("too large for an initramfs (4 GiB at most)", where=str(entry.content))
    name = entry.name.encode() + b"\0"
    links = 2 if stat.S_ISDIR(entry.mode) else 1
    fields = (inode, entry.mode, 0, 0, links, 0, size, 0, 0, *entry.device, len(name), 0)
    header = b"070701" + b"".join(b"%08X" % f for f in fields) + name
    out.write(header + _padding(len(header)))
    if isinstance(entry.content, Path):
        with entry.content.open("rb") as f:
            before = out.tell()
            shutil.copyfileobj(f, out, 1024 * 1024)
        if out.tell() - before != size:
            raise UserError("changed while it was packed", where=str(entry.content))
    else:
        out.write(entry.content)
    out.write(_padding(size))


def _padding(size: int) -> bytes:
    return b"\0" * (-size % _ALIGN)


def pack_rootfs(rootfs: Path, target: Path) -> None:
    """Write the archive of the folder that the recipe filled.

    Symbolic links are stored, not followed. Owner, times and all permissions but "executable" are dropped.
    """
    if not os.path.lexists(rootfs / "init"):
        raise UserError("no /init in the guest's root file system", where=str(rootfs))
    pack_folder(rootfs, target, [Entry(n, stat.S_IFCHR | 0o600, device=d) for n, d in _NODES.items()])


def pack_folder(source: Path, target: Path, more: Iterable[Entry] = ()) -> None:
    """Write the archive of a folder and the entries of ``more``, as `pack_rootfs` does."""
    with target.open("wb") as out:
        newc([*more, *_inside(source)], out)


def _entry_of(path: Path, name: str) -> Entry:
    mode = path.lstat().st_mode
    if stat.S_ISLNK(mode):
        return Entry(name, stat.S_IFLNK | 0o777, os.fsencode(path.readlink()))
    if stat.S_ISDIR(mode):
        return folder(name)
    if stat.S_ISREG(mode):
        return regular(name, path, executable=bool(mode & 0o111))
    raise UserError("neither file, folder nor link: not for the guest", where=str(path))


def _plan_text(boot: BootContents) -> str:
    """Return the agent's plan: one instruction a line, its words encoded by `encode_value`."""
    lines = [["nonce", boot.nonce]]
    if boot.slow != 1:
        lines.append(["slow", f"{boot.slow:g}"])
    lines += [["env", name, value] for name, value in sorted(boot.env.items())]
    if boot.with_disk:
        lines.append(["disk", TOOLS_SERIAL, f"/{DISK}", "ext4"])
    if boot.counters:
        lines.append(["counters"])
    if boot.folder:
        lines.append(["folder", FOLDER_TAG, f"/{FOLDER}", "rw" if boot.folder.writable else "ro"])
    lines += [
        ["module", f"/{HOME}/{module.name}", *boot.module_params.get(module.name, "").split()]
        for module in boot.modules
    ]
    for case in boot.cases:
        lines.append(["case", str(case.index), case.id, f"{case.timeout_s:g}", case.guest_script, *case.args])
    return "".join(" ".join(encode_value(token) for token in line) + "\n" for line in lines)


def pack_cell(target: Path, boot: BootContents) -> None:
    """Write the archive of one boot, to be placed behind the rootfs archive by `concatenate`.

    Raises UserError for a case that cannot be packed because of its id, a file or an argument.
    """
    if not _NONCE.fullmatch(boot.nonce):
        raise ValueError("a nonce is 32 hex digits")
    if unknown := boot.module_params.keys() - {module.name for module in boot.modules}:
        raise ValueError(f"parameters without a module: {min(unknown)}")
    if bad := [name for name, value in boot.env.items() if not _ENV_NAME.fullmatch(name) or not value]:
        raise ValueError(f"not an environment variable: {bad[0]!r}")
    entries = [regular(f"{HOME}/plan", _plan_text(boot).encode()), regular(f"{HOME}/lib.sh", boot.lib)]
    entries += [regular(f"{HOME}/{module.name}", module) for module in boot.modules]
    for case in boot.cases:
        entries += _case_entries(case)
    _check_distinct(entries)
    with target.open("wb") as out:
        newc(entries, out)


def _case_entries(case: PlannedCase) -> list[Entry]:
    if not CASE_ID.fullmatch(case.id):
        raise UserError(
            f"case id {case.id!r} cannot be a folder's name",
            where=str(case.script),
            hint="use letters, digits, dot, dash and underscore",
        )
    if any("\0" in arg or not arg for arg in case.args):
        raise UserError("an argument is empty or holds a NUL byte", where=f"case {case.id}")
    for path in (case.script, *case.extra_files.values()):
        if not path.is_file() and not (path.is_dir() and path != case.script):
            raise UserError(f"case {case.id} needs a file that is not there", where=str(path))
    home = f"{HOME}/cases/{case.id}"
    # The script is executable in the guest, whatever its mode is here.
    script = regular(f"{home}/{case.script.name}", case.script, executable=True)
    extra = [one for name, path in case.extra_files.items() for one in _all_of(path, f"{home}/{name}")]
    return [script, *extra]


def _all_of(path: Path, name: str) -> list[Entry]:
    """Return the members for a file, or for a folder and all that is in it."""
    if not path.is_dir():
        return [regular(name, path, executable=bool(path.stat().st_mode & 0o111))]
    return [folder(name), *_inside(path, f"{name}/")]


def _inside(source: Path, prefix: str = "") -> list[Entry]:
    """Return the members for all that is in a folder; their names begin with ``prefix``."""
    entries = []
    for parent, folders, files in os.walk(source):
        for name in [*folders, *files]:
            path = Path(parent, name)
            entries.append(_entry_of(path, prefix + path.relative_to(source).as_posix()))
    return entries


def _check_distinct(entries: Sequence[Entry]) -> None:
    seen: set[str] = set()
    for entry in entries:
        if entry.name in seen:
            raise UserError("two files have the same name in the guest", where=f"/{entry.name}")
        seen.add(entry.name)


def memory_mib(declared: int, archives: Iterable[Path], hint: str = "") -> int:
    """Return the memory that a guest needs which has ``declared`` MiB if its own archives are small.

    The kernel keeps an archive in memory while it unpacks it into a file system that takes half of the rest
    at most: beyond some MiB, three times their size is added.
    Raise UserError for archives that are too large for that; ``hint`` is what else could be done.
    """
    sizes = {path: path.stat().st_size >> 20 for path in archives}
    total = sum(sizes.values())
    if total > _MOST_MIB:
        largest = max(sizes, key=lambda path: sizes[path])
        raise UserError(
            f"what the guest is given has {total} MiB, and the limit is {_MOST_MIB} MiB",
            where=f"{largest.name}: {sizes[largest]} MiB",
            hint="it would be held in memory, twice at the start: name smaller packages in tools, or files"
            + (f"; {hint}" if hint else ""),
        )
    return declared + 3 * max(0, total - _SMALL_MIB)


def concatenate(target: Path, archives: Sequence[Path]) -> Path:
    """Write ``archives`` one after the other into ``target``, QEMU's initramfs; return ``target``."""
    with target.open("wb") as out:
        for archive in archives:
            with archive.open("rb") as f:
                shutil.copyfileobj(f, out, 1024 * 1024)
            out.write(_padding(out.tell()))
    return target
