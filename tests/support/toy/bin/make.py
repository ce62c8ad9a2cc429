"""Plays make for a toy kernel tree: configurations, a base and modules, as the recipes ask for them."""

from __future__ import annotations

import hashlib
import os
import re
import struct
import subprocess
import sys
from pathlib import Path


def main(argv: list[str]) -> int:
    if "--version" in argv:
        print("GNU Make (toy) 1.0")
        return 0
    variables = dict(a.split("=", 1) for a in argv if "=" in a and not a.startswith("-"))
    src = Path(argv[argv.index("-C") + 1])
    targets = [
        a for i, a in enumerate(argv) if "=" not in a and not a.startswith("-") and argv[i - 1] != "-C"
    ]
    with Path(os.environ["TOY_CALLS"]).open("a") as f:
        f.write(" ".join(targets) + "\n")
    if "M" in variables:
        return external(src, Path(variables["M"]))
    obj = Path(variables["O"])
    config = Path(variables.get("KCONFIG_CONFIG", obj / ".config"))
    for target in targets:
        if target in ("allnoconfig", "olddefconfig"):
            configure(src, config, target)
        elif target == "modules_prepare":
            (obj / "Makefile").write_text("# of the toy's objects\n")
        elif target == "bzImage":
            base(src, obj)
        elif target == "modules":
            modules(src, obj)
        elif target.endswith(".ko") and not module(src, obj, target, variables.get("CHECK", "")):
            return 2
    return 0


def configure(src: Path, config: Path, target: str) -> None:
    asked = os.environ.get("KCONFIG_ALLCONFIG") if target == "allnoconfig" else str(config)
    values = parse(Path(asked).read_text()) if asked and Path(asked).exists() else {}
    text = "\n".join(p.read_text() for p in (src / "Kconfig", src / "fs/toy/Kconfig"))
    final: dict[str, str] = {}
    for block in re.split(r"^config ", text, flags=re.M)[1:]:
        name = block.split()[0]
        needs = re.findall(r"depends on (\w+)", block)
        met = all(final.get(n, "n") != "n" for n in needs)
        final[name] = values.get(name, "n") if met else "n"
    lines = [f"# CONFIG_{k} is not set" if v == "n" else f"CONFIG_{k}={v}" for k, v in final.items()]
    config.write_text("# toy\n" + "\n".join(lines) + "\n")


def parse(text: str) -> dict[str, str]:
    return dict(re.findall(r"^CONFIG_(\w+)=(.*)$", text, flags=re.M))


def base(src: Path, obj: Path) -> None:
    print("  CC      init/main.o", flush=True)
    content = compiled(src / "init/main.c", obj).encode()
    (obj / "init").mkdir(exist_ok=True)
    (obj / "init/.main.o.cmd").write_text(dependencies("init/main.o", src / "init/main.c"))
    (obj / "arch/x86/boot").mkdir(parents=True, exist_ok=True)
    (obj / "vmlinux").write_bytes(elf(content, b""))
    identity = hashlib.sha1(content).hexdigest()
    (obj / "arch/x86/boot/bzImage").write_text(f"toy kernel {identity}\n")
    (obj / "System.map").write_text("")
    (obj / "Module.symvers").write_text("")


def modules(src: Path, obj: Path) -> None:
    """The modules that the configuration has, and the list of them."""
    values = parse((obj / ".config").read_text())
    made = [
        f"{makefile.parent.relative_to(src)}/{word[:-2]}.ko"
        for makefile in sorted(src.glob("fs/*/Makefile"))
        for symbol, words in re.findall(
            r"^obj-\$\(CONFIG_(\w+)\) \+= (.*)$", makefile.read_text(), flags=re.M
        )
        for word in words.split()
        if values.get(symbol) == "m"
    ]
    for target in made:
        link(src / target.replace(".ko", ".c"), obj, target)
    (obj / "modules.order").write_text("".join(f"{target}\n" for target in made))


def module(src: Path, obj: Path, target: str, check: str) -> bool:
    source = src / target.replace(".ko", ".c")
    print(f"  CC [M]  {target.replace('.ko', '.o')}", flush=True)
    for number, line in enumerate(source.read_text().splitlines(), 1):
        if "WARNED" in line:
            print(f"{source}:{number}:3: warning: unused variable 'WARNED' [-Wunused-variable]")
        if "BROKEN" in line:
            print(f"{source}:{number}:3: error: 'BROKEN' undeclared (first use in this function)")
            return False
        # What a line ``uses: x`` names, another one has to define.
        if (used := re.match(r"uses: (\w+)$", line)) and f"defines: {used[1]}\n" not in source.read_text():
            print(f"{source}:{number}:3: error: '{used[1]}' undeclared (first use in this function)")
            return False
    if check:
        subprocess.run([check, "-D__linux__", str(source)], check=True)
    link(source, obj, target)
    return True


def external(kit: Path, folder: Path) -> int:
    """The modules of a source that is in no tree: ``obj-m`` of its Kbuild."""
    for name in re.findall(r"(\S+)\.o", (folder / "Kbuild").read_text()):
        source = folder / f"{name}.c"
        print(f"  CC [M]  {folder}/{name}.o", flush=True)
        for number, line in enumerate(source.read_text().splitlines(), 1):
            if "WARNED" in line:
                print(f"{source}:{number}:3: warning: unused variable 'WARNED' [-Wunused-variable]")
            if "BROKEN" in line:
                print(f"{source}:{number}:3: error: 'BROKEN' undeclared (first use in this function)")
                return 2
        link(source, kit, f"{folder}/{name}.ko")
    (folder / "Module.symvers").write_text("")
    return 0


def link(source: Path, obj: Path, target: str) -> None:
    """Make a module, which needs those of a line ``needs: a,b`` of its source."""
    content = compiled(source, obj)
    needs = re.findall(r"^needs: (\S+)$", content, flags=re.M)
    (obj / target).parent.mkdir(parents=True, exist_ok=True)
    info = f"depends={','.join(needs)}\0".encode()
    (obj / target).write_bytes(elf(content.encode(), content.encode(), info))


def compiled(source: Path, obj: Path) -> str:
    """What an object has in it: its source, what that includes, and of the configuration what they read."""
    values = parse((obj / ".config").read_text())
    text = re.sub(r'#include "(.+)"', lambda m: header(source, m[1], obj).read_text(), source.read_text())
    return re.sub(r"\bCONFIG_(\w+)", lambda m: values.get(m[1], "n"), text)


def header(source: Path, name: str, obj: Path) -> Path:
    """The file that a source includes: one of the tree, or else one that was generated beside the object."""
    tree_file = source.parent / name
    return tree_file if tree_file.exists() else obj / "fs/toy" / name


def dependencies(name: str, source: Path) -> str:
    """A .cmd file as fixdep writes it."""
    texts = [source.read_text()]
    included = [source.parent / other for other in re.findall(r'#include "(.+)"', texts[0])]
    files = [f"  {path} \\\n" for path in included]
    texts += [path.read_text() for path in included]
    symbols = re.findall(r"\bCONFIG_(\w+)", "".join(texts))
    read = [f"    $(wildcard include/config/{symbol}) \\\n" for symbol in symbols]
    lists = f"deps_{name} := \\\n{''.join((*read, *files))}\n"
    return f"cmd_{name} := gcc -c -o {name} {source}\n\nsource_{name} := {source}\n\n{lists}"


def elf(identity: bytes, payload: bytes, info: bytes = b"") -> bytes:
    """A 64-bit ELF file with a GNU build id note (SHA-1 of ``identity``), ``payload`` as its code, and
    ``info`` as a module's information."""
    digest = hashlib.sha1(identity).digest()
    note = struct.pack("<III4s", 4, len(digest), 3, b"GNU\0") + digest
    names = b"\0.note.gnu.build-id\0.shstrtab\0.text\0.modinfo\0"
    header_size, section_size = 64, 64
    parts = [(1, 7, 2, note), (20, 3, 0, names), (30, 1, 6, payload), *([(36, 1, 2, info)] if info else [])]
    at, sections = header_size, b"\0" * section_size
    for name, kind, flags, content in parts:
        sections += struct.pack(
            "<IIQQQQIIQQ", name, kind, flags, 0, at, len(content), 0, 0, 4 if kind == 7 else 1, 0
        )
        at += len(content)
    header = struct.pack(
        "<16sHHIQQQIHHHHHH", b"\x7fELF\x02\x01\x01" + b"\0" * 9, 1, 62, 1, 0, 0, at, 0,
        header_size, 0, 0, section_size, len(parts) + 1, 2,
    )  # fmt: skip
    return header + note + names + payload + info + sections


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
