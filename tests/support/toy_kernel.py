"""A distribution's kernel for tests: as small as it may be, and laid out as Debian's packages are."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Mapping
from pathlib import Path

from tests.support.toy_packages import Archive

RELEASE = "6.1.0-57-amd64"
VERSION = "6.1.192-3"
UBUNTU = "6.8.0-50-generic"
VMLINUX = b"\x7fELF" + b"the kernel itself" * 40
_STUB = "ffffffffffffffff B The real System.map is in the linux-image-<version>-dbg package\n"


def bzimage(release: str = RELEASE, payload: bytes | None = None, protocol: int = 0x20F) -> bytes:
    """An image with the header of the x86 boot protocol and this payload, by default a vmlinux in gzip."""
    payload = gzip.compress(VMLINUX) if payload is None else payload
    header = bytearray(2 * 512)
    header[0x1F1] = 1
    header[0x202:0x206] = b"HdrS"
    struct.pack_into("<H", header, 0x206, protocol)
    struct.pack_into("<H", header, 0x20E, 0x300 - 0x200)
    struct.pack_into("<II", header, 0x248, 16, len(payload))
    version = f"{release} (toy@localhost.invalid) #1 SMP toy\0".encode()
    header[0x300 : 0x300 + len(version)] = version
    return bytes(header) + bytes(16) + payload + b"certificates"


def module(versions: Mapping[str, int] | None = None, **info: str | tuple[str, ...]) -> bytes:
    """An ELF file with nothing but the information of a module; a field with several values is a tuple.

    ``versions`` are the checksums of the symbols that it uses, by name.
    """
    pairs = [
        (key, one) for key, value in info.items() for one in ((value,) if isinstance(value, str) else value)
    ]
    parts = [(1, b"".join(f"{key}={value}".encode() + b"\0" for key, value in pairs))]
    if versions:
        parts.append(
            (20, b"".join(struct.pack("<Q56s", crc, name.encode()) for name, crc in versions.items()))
        )
    names = b"\0.modinfo\0.shstrtab\0__versions\0"
    parts.append((10, names))
    body = b"".join(part for _, part in parts)
    header = struct.pack(
        "<4sBBBB8xHHIQQQIHHHHHH",
        b"\x7fELF", 2, 1, 1, 0, 1, 62, 1, 0, 0, 64 + len(body), 0, 64, 0, 0, 64, len(parts) + 1, len(parts),
    )  # fmt: skip
    sections, offset = b"", 64
    for name, part in parts:
        kind = 3 if part is names else 1
        sections += struct.pack("<IIQQQQIIQQ", name, kind, 0, 0, offset, len(part), 0, 0, 1, 0)
        offset += len(part)
    return header + body + bytes(64) + sections


def headers(release: str = RELEASE) -> Mapping[str, str]:
    """The files of Debian's headers: of the architecture, in common, and of kbuild."""
    abi = release.removesuffix("-amd64")
    arch, common = f"usr/src/linux-headers-{release}", f"usr/src/linux-headers-{abi}-common"
    kbuild = "usr/lib/linux-kbuild-6.1"
    return {
        f"{arch}/Makefile": f"KBUILD_OUTPUT=/{arch}\ninclude /{common}/Makefile\n",
        f"{arch}/Module.symvers": "0x1\tprintk\tvmlinux\tEXPORT_SYMBOL\t\n",
        f"{arch}/include/generated/utsrelease.h": f'#define UTS_RELEASE "{release}"\n',
        f"{arch}/scripts": f"-> ../../lib/{kbuild.rpartition('/')[2]}/scripts",
        f"{arch}/tools": f"-> ../../lib/{kbuild.rpartition('/')[2]}/tools",
        f"{common}/Makefile": (
            "here := $(realpath $(dir $(lastword $(MAKEFILE_LIST))))\n"
            "all:\n\t@echo $(here) $(KBUILD_OUTPUT) $$(cat scripts/mod/modpost $(here)/tools/objtool)\n"
        ),
        f"{common}/scripts": f"-> ../../lib/{kbuild.rpartition('/')[2]}/scripts",
        f"{common}/tools": f"-> ../../lib/{kbuild.rpartition('/')[2]}/tools",
        f"{kbuild}/scripts/mod/modpost": "modpost\n",
        f"{kbuild}/tools/objtool": "objtool\n",
    }


def image(release: str = RELEASE) -> Mapping[str, str | bytes]:
    """The files of Debian's image package before 7.x."""
    return {
        f"boot/vmlinuz-{release}": bzimage(release),
        f"boot/config-{release}": "CONFIG_GCC_VERSION=120200\n",
        f"boot/System.map-{release}": _STUB,
        f"lib/modules/{release}/kernel/fs/toy.ko": "toy",
        f"lib/modules/{release}/modules.builtin": "kernel/fs/built.ko\n",
        f"usr/share/doc/linux-image-{release}/copyright": "all of us",
    }


def add_to(archive: Archive, release: str = RELEASE, version: str = VERSION) -> None:
    """Make the packages of this kernel, and the metapackage that depends on it."""
    abi = release.removesuffix("-amd64")
    files = headers(release)
    links = {
        f"lib/modules/{release}/build": f"-> /usr/src/linux-headers-{release}",
        f"lib/modules/{release}/source": f"-> /usr/src/linux-headers-{abi}-common",
    }
    archive.add(f"linux-image-{release}", image(release), version, shown="kmod, linux-base (>= 4.3~)")
    for name, prefix, shown in (
        (
            f"linux-headers-{release}",
            f"usr/src/linux-headers-{release}/",
            f"linux-headers-{abi}-common (= {version}), linux-kbuild-6.1 (>= {version}), gcc-12",
        ),
        (f"linux-headers-{abi}-common", f"usr/src/linux-headers-{abi}-common/", ""),
        ("linux-kbuild-6.1", "usr/lib/", "libc6 (>= 2.34)"),
    ):
        own = {path: text for path, text in files.items() if path.startswith(prefix)}
        archive.add(name, {**own, **(links if shown and "common" in shown else {})}, version, shown=shown)
    archive.add("linux-image-amd64", {}, version, shown=f"linux-image-{release} (= {version})")


def ubuntu_headers(release: str = UBUNTU) -> Mapping[str, str]:
    """The files of Ubuntu's headers: the kernel's, with programs and links, and those of its version."""
    version = release.rpartition("-")[0]
    own, common = f"usr/src/linux-headers-{release}", f"usr/src/linux-headers-{version}"
    return {
        f"{own}/Makefile": f"-> ../linux-headers-{version}/Makefile",
        f"{own}/Module.symvers": "0x1\tprintk\tvmlinux\tEXPORT_SYMBOL\t\n",
        f"{own}/include/generated/utsrelease.h": f'#define UTS_RELEASE "{release}"\n',
        f"{own}/include/linux": f"-> ../../linux-headers-{version}/include/linux",
        f"{own}/scripts/mod/modpost": "modpost\n",
        # Of a package that no build of a module in C takes.
        f"{own}/rust": f"-> ../linux-lib-rust-{release}/rust",
        f"{common}/Makefile": "all:\n\t@cat scripts/mod/modpost include/linux/module.h\n",
        f"{common}/include/linux/module.h": "module.h\n",
    }


def add_ubuntu_to(archive: Archive, release: str = UBUNTU, version: str = "6.8.0-50.51") -> None:
    """Make the packages of this kernel as Ubuntu has them, and the metapackage that depends on it."""
    files, of_version = ubuntu_headers(release), release.rpartition("-")[0]
    modules = f"lib/modules/{release}"
    own = {path: text for path, text in files.items() if f"-{release}/" in path.split("rust")[0]}
    rest = {path: text for path, text in files.items() if path not in own}
    archive.add(
        f"linux-image-{release}", {f"boot/vmlinuz-{release}": bzimage(release)}, version,
        shown=f"kmod, linux-base (>= 4.5ubuntu1~16.04.1), linux-modules-{release}",
    )  # fmt: skip
    archive.add(
        f"linux-modules-{release}",
        {
            f"boot/config-{release}": "CONFIG_GCC_VERSION=130300\n",
            f"boot/System.map-{release}": "ffffffff81000000 T _stext\n",
            f"{modules}/kernel/fs/toy.ko.zst": "toy",
            f"{modules}/modules.builtin": "kernel/fs/built.ko\n",
        },
        version,
    )
    archive.add(
        f"linux-modules-extra-{release}", {f"{modules}/kernel/drivers/more.ko.zst": "more"}, version,
        shown=f"linux-modules-{release}, linux-image-{release} | linux-image-unsigned-{release}",
    )  # fmt: skip
    links = {f"{modules}/build": f"-> /usr/src/linux-headers-{release}"}
    archive.add(
        f"linux-headers-{release}", {**own, **links}, version,
        shown=f"linux-headers-{of_version}, libc6 (>= 2.38), libelf1t64 (>= 0.144)",
    )  # fmt: skip
    archive.add(f"linux-headers-{of_version}", rest, version)
    archive.add(
        "linux-image-generic", {}, "6.8.0.50.48",
        shown=f"linux-image-{release}, linux-modules-extra-{release}, linux-firmware, intel-microcode",
    )  # fmt: skip


def write(root: Path, files: Mapping[str, str | bytes]) -> None:
    """Write files below a folder; a text that begins with ``-> `` is a link."""
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, str) and content.startswith("-> "):
            path.symlink_to(content.removeprefix("-> "))
        else:
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
