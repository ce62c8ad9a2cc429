"""Which programs a case called that the guest does not have, from what its shell printed. Pure.

A script without ``set -e`` goes on after a command that is not there, and may end with status 0 although it
tested nothing. A shell reports such a command on the case's standard error; what a script tries quietly
(``command -v``, ``which``, ``2>/dev/null``) is not reported, and is the script's own affair.
"""

from __future__ import annotations

import re

_NAME = rb"(?P<name>[A-Za-z0-9_][A-Za-z0-9_.+-]*|/(?:usr/)?s?bin/[A-Za-z0-9_.+-]+)"
# Of busybox's ash and of bash: "/kmodpipe/cases/x/x.sh: line 7: setfattr: not found", "sh: foo: not found",
# "x.sh: eval: line 3: foo: not found".
_SHELL = re.compile(
    rb"^(?:[^\s:]+: (?:eval: |exec: )?line \d+: (?:exec: )?|(?:ba|a|da)?sh: )"
    + _NAME
    + rb": (?:command )?not found$"
)
# Of programs that start another: env, timeout, setsid, chroot, time, nohup, nice, xargs. Not find: a folder
# that it does not find reads alike.
_STARTER = re.compile(rb"^[a-z]+: can't execute '" + _NAME + rb"': No such file or directory$")
_XARGS = re.compile(rb"^(?:xargs|nohup|nice): " + _NAME + rb": No such file or directory$")
_MOST = 8
_LINE_LIMIT = 400


def programs_not_found(output: bytes) -> tuple[str, ...]:
    """Return the names in the order in which they were called, each once, the first eight."""
    found: dict[str, None] = {}
    for line in output.splitlines():
        if len(line) > _LINE_LIMIT or not line.endswith((b"not found", b"No such file or directory")):
            continue
        match = _SHELL.match(line) or _STARTER.match(line) or _XARGS.match(line)
        if match:
            found[match["name"].decode("ascii")] = None
            if len(found) == _MOST:
                break
    return tuple(found)
