"""What the kernel said of a module on the console: why it did not load."""

from __future__ import annotations

import re
from pathlib import Path

from kmodpipe.util.text import one_line

_MOST_BYTES = 4 << 20
# What kernel/module/signing.c and security/lockdown say names no module.
_OF_ANY = re.compile(rb"Loading of .{1,60} is rejected$|Lockdown: \S+: unsigned module loading is restricted")
# What the same files say of a module that is taken all the same.
_NO_REASON = re.compile(
    rb"loading out-of-tree module taints kernel|module verification failed: signature and/or required key missing"
)
_STAMP = re.compile(rb"^(?:<\d+>)?(?:\[ *\d+\.\d+\])?(?:\[ *[TC]\d+\])? ?")


def about_module(console: Path, module: str, *, most: int = 4) -> tuple[str, ...]:
    """Return the first lines that begin with the module's name, as kernel/module's messages do; () if none.

    So do those about a signature that is missing, which name none; what taints is no reason, and left out.
    ``module`` is its name with - or _, as its file or the kernel has it. Only the first 4 MiB are read.
    """
    name = "".join("[-_]" if letter in "-_" else re.escape(letter) for letter in module).encode()
    wanted = re.compile(rb"(?:module )?'?" + name + rb"'?: ")
    found: list[str] = []
    try:
        with console.open("rb") as f:
            text = f.read(_MOST_BYTES)
    except OSError:
        return ()
    for line in text.splitlines():
        said = _STAMP.sub(b"", line, count=1)
        if _NO_REASON.search(said) or not (wanted.match(said) or _OF_ANY.match(said)):
            continue
        shown = one_line(said.decode("utf-8", "replace"))
        if shown not in found:
            found.append(shown)
            if len(found) == most:
                break
    return tuple(found)
