"""Tell, before a boot, that a kernel would refuse a module: it is another kernel's, or has no signature.

What the kernel compares is in its kernel/module/version.c and signing.c (until 5.18 in kernel/module.c).
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from kmodpipe.build import module_file
from kmodpipe.build.elf import module_name, opened
from kmodpipe.build.external_products import SYMVERS
from kmodpipe.util import document
from kmodpipe.util.errors import KernelFailure

# Linux' include/linux/module_signature.h: what a signed module ends with.
_SIGNED = b"~Module signature appended~\n"
# An entry of the section __versions: a checksum, an unsigned long, and the symbol's name, in 64 bytes.
_ENTRY = struct.Struct("<Q56s")
_SYMVERS_BYTES = 64 << 20
# The owner of what the kernel itself exports, which no module can export again.
_KERNEL = "vmlinux"
_LOCKDOWN = {
    "LOCK_DOWN_KERNEL_FORCE_INTEGRITY": "integrity",
    "LOCK_DOWN_KERNEL_FORCE_CONFIDENTIALITY": "confidentiality",
}
_OFF = ("0", "n", "N", "off")
_OTHER_KERNEL = (
    "its Makefile builds against another kernel, or takes a module that was built before: let it build "
    'against what it is given, make = "KDIR={kit}"'
)
_SIGN_IT = "or let its Makefile sign the module (scripts/sign-file) with a key that this kernel trusts"


def require_of_kernel(built: Path, kit: Path, config: Mapping[str, str], log: Path) -> None:
    """Raise KernelFailure for a module that was built against another kernel than that of ``kit``.

    With MODVERSIONS a kernel takes one of another release if the symbols that it uses are the same; without
    it, the releases have to be. A symbol that a module beside it exports is that module's, whatever modules
    of the kernel have of its name: both cannot be loaded.
    """
    versions = dict(_versions(built)) if config.get("MODVERSIONS") == "y" else {}
    if not versions:
        release, own = _release(kit), module_file.info(built).vermagic.partition(" ")[0]
        if release and own and own != release:
            raise _refused(
                built, f"it is for {own}, and this kernel is {release}", f"log: {log}", _OTHER_KERNEL
            )
        return
    beside = {symbol: known for symbol, known, _ in _exported(built.parent)}
    for symbol, known, owner in _exported(kit):
        known = known if owner == _KERNEL else beside.get(symbol, known)
        if (asked := versions.get(symbol, known)) != known:
            why = f"it disagrees about the version of symbol {symbol}, {asked:#010x} and not {known:#010x}"
            raise _refused(built, why, f"log: {log}", _OTHER_KERNEL)


def require_signed(built: Iterable[Path], config: Mapping[str, str], cmdline: str, where: str) -> None:
    """Raise KernelFailure for modules without a signature where the kernel takes no others.

    ``config`` is the kernel's, ``cmdline`` what it is booted with, ``where`` names it in the error.
    """
    reason, hint = _enforced(config, cmdline)
    if not reason:
        return
    for path in sorted(built):
        if not _is_signed(path):
            raise _refused(path, f"it is not signed, and {reason}", where, hint)


def _enforced(config: Mapping[str, str], cmdline: str) -> tuple[str, str]:
    """Return why a kernel takes signed modules alone, and what can be done; empty if it does not."""
    own = f"take a kernel without it; {_SIGN_IT}"
    words = f"{config.get('CMDLINE', '').strip(chr(34))} {cmdline}".split()
    if config.get("MODULE_SIG") == "y":
        if config.get("MODULE_SIG_FORCE") == "y":
            return "the kernel has CONFIG_MODULE_SIG_FORCE=y, which nothing turns off at the boot", own
        for word in words:
            name, _, value = word.partition("=")
            if name.replace("-", "_") == "module.sig_enforce" and value not in _OFF:
                return f"the kernel is booted with {word}", f"leave it out of cmdline; {_SIGN_IT}"
    if config.get("SECURITY_LOCKDOWN_LSM") == "y":
        for symbol in _LOCKDOWN:
            if config.get(symbol) == "y":
                return f"the kernel has CONFIG_{symbol}=y, which nothing turns off at the boot", own
        for word in words:
            if word.partition("=")[0] == "lockdown" and word.partition("=")[2] in _LOCKDOWN.values():
                return f"the kernel is booted with {word}", f"leave it out of cmdline; {_SIGN_IT}"
    return "", ""


def _is_signed(module: Path) -> bool:
    with module.open("rb") as f:
        f.seek(max(0, module.stat().st_size - len(_SIGNED)))
        return f.read() == _SIGNED


def _refused(module: Path, why: str, where: str, hint: str) -> KernelFailure:
    # Not above: it imports all that results are made of, which a build that succeeds needs none of.
    from kmodpipe.results import WOULD_REFUSE

    return KernelFailure(f"{WOULD_REFUSE} {module_name(module)}: {why}", where=where, hint=hint)


def _release(kit: Path) -> str:
    try:
        return document.read_text(kit / "include/config/kernel.release").strip()
    except (OSError, ValueError):
        return ""


def _versions(module: Path) -> Iterator[tuple[str, int]]:
    """Yield the symbols that a module uses with the checksums of those that it was built against."""
    with opened(module, "module") as elf:
        section = elf.get_section_by_name("__versions")
        data = bytes(section.data()) if section else b""
    for at in range(0, len(data) - _ENTRY.size + 1, _ENTRY.size):
        checksum, name = _ENTRY.unpack_from(data, at)
        yield name.partition(b"\0")[0].decode("ascii", "replace"), checksum


def _exported(folder: Path) -> Iterator[tuple[str, int, str]]:
    """Yield the symbols that a kernel and its modules, or modules of one build, export.

    Each with its checksum, and who has it (Documentation/kbuild/modules.rst, Module.symvers).
    """
    try:
        text = document.read_text(folder / SYMVERS, most=_SYMVERS_BYTES)
    except (OSError, ValueError):
        return
    for line in text.splitlines():
        checksum, symbol, owner, *_ = (*line.split("\t"), "", "")
        try:
            yield symbol, int(checksum, 16), owner
        except ValueError:
            continue
