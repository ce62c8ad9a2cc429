"""What a case's script needs of the guest, read from the script itself, before anything is built.

Its interpreter, from the first line (execve(2), "Interpreter scripts"); for a program, its loader and its
libraries; and what the comments ``# needs: bash setfattr CONFIG_USER_NS`` and ``# tools: bash attr`` name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from elftools.common.exceptions import ELFError
from elftools.elf.dynamic import DynamicSegment
from elftools.elf.elffile import ELFFile
from elftools.elf.segments import InterpSegment

from kmodpipe.build.elf import DAMAGE
from kmodpipe.kconfig.matrix_toml import tool_name
from kmodpipe.util.errors import UserError
from kmodpipe.util.text import one_line
from kmodpipe.vm.guest_root import GuestRoot

SHELL = "/bin/sh"
# The Debian packages of programs that cases call, for hints.
_PACKAGES = {
    "attr": "attr setfattr getfattr",
    "acl": "setfacl getfacl",
    "bash": "bash",
    "bc": "bc",
    "coreutils": "sha512sum numfmt",
    "cryptsetup-bin": "cryptsetup veritysetup integritysetup",
    "dmsetup": "dmsetup",
    "e2fsprogs": "chattr lsattr debugfs dumpe2fs resize2fs mkfs.ext3 e2image filefrag",
    "ethtool": "ethtool",
    "fio": "fio",
    "fuse3": "fusermount3 mount.fuse3",
    "gdb": "gdb",
    "iproute2": "ip tc ss bridge",
    "iptables": "iptables ip6tables",
    "iputils-ping": "ping",
    "jq": "jq",
    "kmod": "kmod",
    "libcap2-bin": "setcap getcap capsh",
    "nftables": "nft",
    "nvme-cli": "nvme",
    "perl-base": "perl",
    "python3": "python3",
    "quota": "setquota quota quotacheck repquota",
    "squashfs-tools": "mksquashfs unsquashfs",
    "strace": "strace",
    "stress-ng": "stress-ng",
    "util-linux": "findmnt flock unshare nsenter prlimit fallocate lsblk",
    "xfsprogs": "xfs_io",
}
_PACKAGE_OF = {program: package for package, programs in _PACKAGES.items() for program in programs.split()}
# Bytes of a first line that the kernel reads (BINPRM_BUF_SIZE in uapi/linux/binfmts.h, since 5.1).
_FIRST_LINE_LIMIT = 256
_HEAD = 64 * 1024
_COMMENT = re.compile(r"#[ \t]*(needs|tools)[ \t]*:(.*)", re.IGNORECASE)
_SYMBOL = re.compile(r"CONFIG_([A-Z0-9_]+)")
_BARE_SYMBOL = re.compile(r"[A-Z0-9_]+")
_PROGRAM = re.compile(r"[a-z0-9_][A-Za-z0-9_.+-]*|/[A-Za-z0-9_.+/-]+")


@dataclass(frozen=True)
class Needs:
    """What a script needs of the guest."""

    # Absolute path of what runs it, "" for a static program.
    interpreter: str = SHELL
    # Names of programs, or their absolute paths.
    programs: tuple[str, ...] = ()
    # File names of shared libraries.
    libraries: tuple[str, ...] = ()
    # Symbols, without CONFIG_.
    symbols: tuple[str, ...] = ()
    # Sets of tools or Debian packages that the guest is to get.
    tools: tuple[str, ...] = ()

    @property
    def beyond_the_shell(self) -> bool:
        """Whether it needs more than a shell, which each guest has."""
        return bool(self.programs or self.libraries or self.interpreter not in ("", SHELL))

    def missing_from(self, root: GuestRoot) -> tuple[str, ...]:
        """Return the interpreter, programs and libraries that the guest's root file system does not have."""
        found = [self.interpreter] if self.interpreter and not root.has_program(self.interpreter) else []
        found += [name for name in self.programs if not root.has_program(name)]
        found += [name for name in self.libraries if not root.has_library(name)]
        return tuple(dict.fromkeys(found))


def is_symbol(name: str) -> bool:
    """Return whether this names a symbol, with CONFIG_ or without."""
    return _BARE_SYMBOL.fullmatch(name) is not None


def is_program(name: str) -> bool:
    """Return whether this can name a program: its name or its absolute path."""
    return _PROGRAM.fullmatch(name) is not None


def add_programs(missing: Iterable[str]) -> str:
    """Return how these programs come into the guest, as a hint."""
    names = [name.rpartition("/")[2] for name in missing]
    packages = list(dict.fromkeys(_PACKAGE_OF.get(name, "") for name in names))
    if not packages or "" in packages:
        packages = ["PACKAGE"]
    listed = ", ".join(f'"{name}"' for name in packages)
    known = "" if listed != '"PACKAGE"' else "the Debian package that has it: "
    return f"add {known}tools = [{listed}] to the case, or to its script: # tools: {' '.join(packages)}"


def guest_has_no(missing: Iterable[str]) -> str:
    """Return why there is no verdict on a case that needs these programs."""
    names = tuple(missing)
    shown = ", ".join(one_line(name) for name in names)
    return f"no verdict: the guest has no {shown}; {add_programs(names)}"


def needs_of(path: Path) -> Needs:
    """Return what the script or program needs.

    Raises UserError for what no guest can run: neither a script nor an ELF program for x86-64, a first line
    that ends in CR LF or is longer than the kernel reads; and for a ``needs:`` that cannot be read.
    """
    try:
        with path.open("rb") as f:
            head = f.read(_HEAD)
    except OSError as e:
        raise UserError(f"the case script cannot be read: {e.strerror}", where=str(path)) from None
    if head.startswith(b"\x7fELF"):
        return _of_program(path)
    if not head.startswith(b"#!"):
        raise UserError(
            "the case script begins neither with #! nor as an ELF program",
            where=str(path),
            hint="it begins with a byte order mark: remove it (sed -i '1s/^\\xef\\xbb\\xbf//' FILE)"
            if head.startswith((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff"))
            else "begin it with: #!/bin/sh",
        )
    interpreter, programs = _of_first_line(head, path)
    found = _of_comments(head.decode("utf-8", "replace"), path)
    return replace(found, interpreter=interpreter, programs=(*programs, *found.programs))


def _of_first_line(head: bytes, path: Path) -> tuple[str, tuple[str, ...]]:
    """Return the interpreter, and what it runs if it is env(1)."""
    where = f"{path}:1"
    line = head.split(b"\n", 1)[0]
    if line.endswith(b"\r"):
        raise UserError(
            "the script's lines end in CR LF: the kernel takes the CR as a part of the interpreter's name",
            where=where,
            hint="convert it: sed -i 's/\\r$//' FILE",
        )
    if len(line) >= _FIRST_LINE_LIMIT or b"\0" in line:
        raise UserError(f"the kernel reads {_FIRST_LINE_LIMIT - 1} bytes of a first line", where=where)
    interpreter, *rest = line[2:].decode("utf-8", "replace").strip().split(None, 1) or [""]
    if not interpreter.startswith("/"):
        raise UserError(
            f"the script's interpreter is not an absolute path: {interpreter!r}",
            where=where,
            hint="begin it with: #!/bin/sh",
        )
    if Path(interpreter).name != "env":
        return interpreter, ()
    # Everything behind env is one argument.
    argument = rest[0].strip() if rest else ""
    if not _PROGRAM.fullmatch(argument):
        raise UserError(
            f"the guest's env runs no program named {argument!r}",
            where=where,
            hint="name the interpreter by its path, one option may follow: #!/bin/sh -e",
        )
    return interpreter, (argument,)


def _of_comments(text: str, path: Path) -> Needs:
    """Return what the ``needs:`` and ``tools:`` of the comments at the script's beginning name."""
    programs: list[str] = []
    symbols: list[str] = []
    tools: list[str] = []
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip() and not line.lstrip().startswith("#"):
            break
        found = _COMMENT.match(line.strip())
        for word in re.split(r"[\s,;]+", found[2].strip()) if found else ():
            if found and found[1].lower() == "tools":
                if word:
                    tools.append(_tool(word, f"{path}:{number}"))
            elif symbol := _SYMBOL.fullmatch(word):
                symbols.append(symbol[1])
            elif _PROGRAM.fullmatch(word):
                programs.append(word)
            elif word:
                raise UserError(
                    f"neither a program nor a symbol: {word!r}",
                    where=f"{path}:{number}",
                    hint="# needs: bash setfattr CONFIG_USER_NS",
                )
    return Needs(
        programs=tuple(dict.fromkeys(programs)),
        symbols=tuple(dict.fromkeys(symbols)),
        tools=tuple(dict.fromkeys(tools)),
    )


def _tool(word: str, where: str) -> str:
    try:
        return tool_name(word)
    except ValueError as e:
        raise UserError(str(e), where=where, hint="# tools: bash attr") from None


def _of_program(path: Path) -> Needs:
    try:
        with path.open("rb") as f:
            elf = ELFFile(f)
            machine = elf.get_machine_arch()
            segments = list(elf.iter_segments())
            loader = [s.get_interp_name() for s in segments if isinstance(s, InterpSegment)]
            libraries = [
                str(vars(tag)["needed"])
                for s in segments
                if isinstance(s, DynamicSegment)
                for tag in s.iter_tags("DT_NEEDED")
            ]
    except (ELFError, OSError, *DAMAGE) as e:
        raise UserError(f"the case's program is no whole ELF file: {e}", where=str(path)) from None
    if machine != "x64":
        raise UserError(
            f"the case's program is for {machine}, the guest is x86-64",
            where=str(path),
            hint="build it for x86-64, best statically",
        )
    return Needs(loader[0] if loader else "", (), tuple(libraries), ())
