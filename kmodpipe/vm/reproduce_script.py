"""Write reproduce.sh, which boots one cell again with nothing but sh, awk and QEMU. Pure, except `write`.

The script lies beside the cell's files and finds everything relative to itself, so a run's folder can be
copied to another machine. It shows the console, then the verdict stream in readable form. Its exit status is
0 if the stream ended with its last record, 1 if it did not, 3 if the machine could not be started. A cell
that took several guests has a script for each: reproduce-2.sh boots the second one.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

from kmodpipe.util.files import write_atomically
from kmodpipe.util.text import visible

TOOLS_NAME = "tools.img"
"""The disk with the tools in QEMU's working folder."""
_VARIABLES = {"@KERNEL@": "$kernel", "@INITRAMFS@": "$initramfs", "@CHANNEL@": "$channel"}

# Shows the records of the verdict stream, those with the mark of the first one. Values are percent-encoded;
# control characters are shown as \xNN. The signatures are not verified, as awk has no SHA-256; the verdict
# of the run itself is in results.json.
_DECODE = r"""
function hex(s) { return 16 * (index(H, substr(s, 1, 1)) - 1) + index(H, substr(s, 2, 1)) - 1 }
function shown(c) {
    if (c == 10) return MARGIN
    if (c == 9) return "    "
    return (c >= 32 && c < 127) ? sprintf("%c", c) : sprintf("\\x%02x", c)
}
function decoded(s,    out, i) {
    out = ""
    while ((i = index(s, "%")) > 0) {
        out = out substr(s, 1, i - 1) shown(hex(substr(s, i + 1, 2)))
        s = substr(s, i + 3)
    }
    return out s
}
# A case's output comes in pieces that end anywhere: a line stays open until its end has come.
function output(text,    cut) {
    if (!open) printf "    out    "
    cut = length(text) - length(MARGIN) + 1
    open = !(cut > 0 && substr(text, cut) == MARGIN)
    printf "%s", (open ? text : substr(text, 1, cut - 1) "\n")
}
function rest(from,    i, t) {
    t = ""
    for (i = from; i <= NF; i++) t = t " " decoded($i)
    return t
}
function field(name,    i) {
    for (i = 6; i <= NF; i++) if (index($i, name "=") == 1) return decoded(substr($i, length(name) + 2))
    return ""
}
BEGIN { H = "0123456789ABCDEF"; MARGIN = "\n           "; next_seq = 0; last = ""; gap = 0; open = 0 }
{ sub(/\r$/, "") }
$1 != "KP" || NF < 5 { next }
mark == "" { mark = $2 }
$2 != mark { next }
{
    if ($3 + 0 != next_seq) { gap = 1; print "  (records are missing here)" }
    next_seq = $3 + 1
    last = $5
}
$5 == "beat"  { next }
$5 != "out" && open { print ""; open = 0 }
$5 == "start" { print "case " field("case") ": " field("id"); next }
$5 == "obs"   { print "    obs    " field("key") " = " field("value"); next }
$5 == "out"   { output(field("data")); next }
$5 == "kmsg"  { printf "    kmsg   [%12.6f] %s\n", field("ts_us") / 1000000, field("text"); next }
{ print ($5 == "end" || $5 == "cut" ? "    " : "") sprintf("%-6s", $5) rest(6) }
END { if (open) print ""; exit !((last == "done" || last == "retired") && !gap) }
"""

_SCRIPT = r"""#!/bin/sh
@COMMENT@
#
# Usage: sh reproduce.sh
# QEMU=/path/to/qemu-system-x86_64 names another QEMU. Ctrl-C ends the guest and shows what came so far.
set -u
say() { printf '%s\n' "reproduce: $*" >&2; }

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd) || exit 3
kernel=$here/@KERNEL_PATH@
qemu=${QEMU:-@QEMU@}
case $qemu in
    /*) ;;
    */*) qemu=$PWD/$qemu ;;
esac
cd "$here" || exit 3
for file in @FILES@; do
    if [ ! -r "$file" ]; then
        say "$here/$file is missing: copy the whole folder of the run, not this cell alone"
        exit 3
    fi
done
if ! command -v "$qemu" >/dev/null 2>&1; then
    fallback=${qemu##*/}
    if command -v "$fallback" >/dev/null 2>&1; then
        qemu=$fallback
    else
        say "there is no $qemu here. Debian and Ubuntu: apt install qemu-system-x86; elsewhere set QEMU"
        exit 3
    fi
fi

scratch=$(mktemp -d) || exit 3
trap 'rm -rf "$scratch"' EXIT
trap 'exit 143' TERM HUP
trap : INT
# QEMU runs in the scratch folder, so that these two need no path: a comma in one would split an option.
initramfs=initramfs.cpio
channel=channel
cat -- @PARTS@ >"$scratch/$initramfs" || exit 3
: >"$scratch/$channel"
@DISKS@@TOOLS@
set -- @ARGV@
(cd "$scratch" && exec "$qemu" "$@" </dev/null)
status=$?
[ "$status" -eq 0 ] || say "QEMU ended with status $status"

printf '\n%s\n' '---- verdict stream ----'
if LC_ALL=C awk '@DECODE@' "$scratch/$channel"; then
    exit 0
fi
say 'the stream did not end with its final record: the guest died, or records are missing'
exit 1
"""


def script(
    argv: Sequence[str],
    *,
    kernel: str,
    initramfs_parts: Sequence[str],
    comment: Mapping[str, str],
    disks: Mapping[str, int] | None = None,
    tools: str = "",
) -> str:
    """Return the text of reproduce.sh.

    ``argv`` is QEMU's command line, in which @KERNEL@, @INITRAMFS@ and @CHANNEL@ stand for the kernel, the
    initramfs and the file for the verdict stream, alone or within an argument (``path=@CHANNEL@``).
    ``kernel`` and ``initramfs_parts``, which are concatenated to the initramfs, are paths relative to the
    script's folder. ``comment`` becomes the script's first lines, ``disks`` are the names of the files that
    QEMU's disks are, with their sizes in MiB. ``tools`` is the disk with the tools, relative to the script's
    folder, which QEMU finds as `TOOLS_NAME`. Raises ValueError for an empty ``argv`` or an absolute path.
    """
    if not argv:
        raise ValueError("reproduce.sh needs QEMU's command line")
    files = [kernel, *initramfs_parts, *([tools] if tools else [])]
    for file in files:
        if PurePosixPath(file).is_absolute() or file.startswith("-") or not file:
            raise ValueError(f"not a path relative to the cell's folder: {file!r}")
    values = {
        "COMMENT": "\n".join(_comment(comment)),
        "KERNEL_PATH": shlex.quote(kernel),
        "QEMU": shlex.quote(argv[0]),
        "FILES": " ".join(shlex.quote(file) for file in files),
        "PARTS": " ".join(shlex.quote(part) for part in initramfs_parts),
        "DISKS": "".join(
            f'dd if=/dev/zero of="$scratch/{name}" bs=1048576 seek={size} count=0 2>/dev/null || exit 3\n'
            for name, size in (disks or {}).items()
        ),
        "TOOLS": f'ln -s "$here"/{shlex.quote(tools)} "$scratch/{TOOLS_NAME}" || exit 3\n' if tools else "",
        "ARGV": " \\\n    ".join(_argument(argument) for argument in argv[1:]),
        "DECODE": _DECODE.replace("'", "'\\''"),
    }
    return re.sub(r"@([A-Z_]+)@", lambda match: values[match.group(1)], _SCRIPT)


def write(
    cell_dir: Path,
    *,
    argv: Sequence[str],
    kernel: str,
    initramfs_parts: Sequence[str],
    comment: Mapping[str, str],
    guest: int = 1,
    disks: Mapping[str, int] | None = None,
    tools: str = "",
) -> Path:
    """Write the script of a cell's ``guest``, as `script` returns it, and return its path."""
    path = cell_dir / (f"reproduce-{guest}.sh" if guest > 1 else "reproduce.sh")
    text = script(
        argv, kernel=kernel, initramfs_parts=initramfs_parts, comment=comment, disks=disks, tools=tools
    )
    write_atomically(path, text)
    path.chmod(0o755)
    return path


def _argument(argument: str) -> str:
    """Return one argument quoted for sh, with placeholders replaced by their variables."""
    if not argument:
        return "''"
    parts = re.split("(@KERNEL@|@INITRAMFS@|@CHANNEL@)", argument)
    return "".join(
        f'"{_VARIABLES[part]}"' if part in _VARIABLES else shlex.quote(part) for part in parts if part
    )


def _comment(comment: Mapping[str, str]) -> list[str]:
    """Return comment lines. No value can end its line."""
    lines = ["# Boots one cell of a kmodpipe run again and runs its cases."]
    for name, value in comment.items():
        for line in value.split("\n") or [""]:
            lines.append(f"# {visible(name)}: {visible(line)}".replace("\n", " ").rstrip())
    return lines
