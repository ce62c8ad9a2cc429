"""Write reproduce.sh, which boots one cell again with nothing but sh, awk and QEMU. Pure, except `write`.

The script lies beside the cell's files and finds everything relative to itself, so a run's folder can be
copied to another machine. It shows the console, then the verdict stream in readable form. Its exit status is
0 if the stream ended with its last record, 1 if it did not, 2 for a wrong argument, 3 if the machine could
not be started. A cell that took several guests has a script for each: reproduce-2.sh boots the second one.

With --shell, --case or --gdb the same guest is used by hand instead (`by_hand`).
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

from kmodpipe.util.files import write_atomically
from kmodpipe.util.text import visible
from kmodpipe.vm import by_hand
from kmodpipe.vm.guest_root import Member
from kmodpipe.vm.initramfs import CASE_ID, HOME
from kmodpipe.vm.qemu import gdb_arguments

TOOLS_NAME = "tools.img"
"""The disk with the tools in QEMU's working folder."""
_VARIABLES = {
    "@KERNEL@": "$kernel",
    "@INITRAMFS@": "$initramfs",
    "@CHANNEL@": "$channel",
    "@WORDS@": "$words",
}

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

# Makes gdb's commands of the same stream: how to attach, and where the modules are.
_TELL_GDB = r"""
function field(name,    i) {
    for (i = 6; i <= NF; i++) if (index($i, name "=") == 1) return substr($i, length(name) + 2)
    return ""
}
{ sub(/\r$/, "") }
$1 == "KP" && $5 == "section" && field("name") ~ /^@SECTIONS@$/ && field("address") ~ /^0x[0-9a-f]+$/ {
    module = field("module")
    if (!(module in text)) { modules[++count] = module; text[module] = "" }
    if (field("name") == ".text") text[module] = field("address")
    else others[module] = others[module] " -s " field("name") " " field("address")
}
END {
    print "set pagination off"
    if (vmlinux != "") print "file \"" vmlinux "\""
    print "target remote " folder "/gdb"
    for (i = 1; i <= count; i++) if (text[modules[i]] != "")
        print "add-symbol-file \"" folder "/" modules[i] ".ko\" " text[modules[i]] others[modules[i]]
    print "set pagination on"
}
"""

_SCRIPT = r"""#!/bin/sh
@COMMENT@
#
# Usage: sh reproduce.sh [--shell] [--case NAME] [--gdb]; sh reproduce.sh --help says more
set -u
say() { printf '%s\n' "reproduce: $*" >&2; }
usage() {
    cat <<'END'
usage: sh reproduce.sh                  boot the cell's guest again, with its cases
       sh reproduce.sh --shell          the same guest with a shell: run NAME runs a case there
       sh reproduce.sh --case NAME      a shell that begins with this case
       sh reproduce.sh --gdb            and gdb can attach from another terminal

cases: @CASES@

QEMU=/path/to/qemu-system-x86_64 names another QEMU, VMLINUX=/path/to/vmlinux what gdb reads of the kernel.
Ctrl-C ends a guest with its cases, and shows what came so far; Ctrl-A X ends one with a shell.
END
}
wrong() {
    say "$*; sh reproduce.sh --help says what there is"
    exit 2
}

words='' gdb=''
while [ $# -gt 0 ]; do
    case $1 in
        -h | --help)
            usage
            exit 0
            ;;
        --shell) words=${words:-kmodpipe.shell} ;;
        --gdb) gdb=y ;;
        --case=*)
            name=${1#--case=}
            shift
            set -- --case "$name" "$@"
            continue
            ;;
        --case)
            [ $# -gt 1 ] || wrong "--case takes the name of a case"
            shift
            case $1 in
                @CASE_PATTERN@) words="kmodpipe.shell kmodpipe.case=$1" ;;
                *) wrong "there is no case '$1' in this guest" ;;
            esac
            ;;
        *) wrong "unknown argument '$1'" ;;
    esac
    shift
done
[ -z "$gdb" ] || words="${words:-kmodpipe.shell} @GDB_WORDS@"
words=${words:+ $words}

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
# piece FILE FROM SIZE: a module, as it is packed.
piece() { tail -c "+$2" -- "$1" | head -c "$3"; }
tell_gdb() {
    until grep -q '^KP [^ ]* [^ ]* [^ ]* shell' "$scratch/channel"; do sleep 1; done
    vmlinux=${VMLINUX:-@VMLINUX@}
    [ -r "$vmlinux" ] || vmlinux=''
    LC_ALL=C awk -v folder="$scratch" -v vmlinux="$vmlinux" \
        '@TELL_GDB@' "$scratch/channel" >"$scratch/gdb.commands"
    say "gdb, in another terminal:  gdb -x $scratch/gdb.commands"
}
set -- @ARGV@
if [ -n "$words" ]; then
    if [ -n "$gdb" ]; then
@MODULES@        set -- "$@" @GDB_ARGV@
        tell_gdb &
        teller=$!
    fi
    (cd "$scratch" && exec "$qemu" "$@")
    status=$?
    [ -z "$gdb" ] || kill "$teller" 2>/dev/null
    [ "$status" -eq 0 ] || say "QEMU ended with status $status"
    exit "$status"
fi
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
    packed: Sequence[Member] = (),
    vmlinux: str = "",
) -> str:
    """Return the text of reproduce.sh.

    ``argv`` is QEMU's command line, in which @KERNEL@, @INITRAMFS@ and @CHANNEL@ stand for the kernel, the
    initramfs and the file for the verdict stream, alone or within an argument (``path=@CHANNEL@``), and
    @WORDS@ for more of the kernel's command line.
    ``kernel`` and ``initramfs_parts``, which are concatenated to the initramfs, are paths relative to the
    script's folder. ``comment`` becomes the script's first lines, ``disks`` are the names of the files that
    QEMU's disks are, with their sizes in MiB. ``tools`` is the disk with the tools, relative to the script's
    folder, which QEMU finds as `TOOLS_NAME`. ``packed`` is what is in the last part of the
    initramfs: the cases, and the modules for gdb. ``vmlinux`` is the kernel's, where this machine has it.
    Raises ValueError for an empty ``argv`` or an absolute path.
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
        "CASES": " ".join(_cases(packed)),
        # Without a case: what is none's name.
        "CASE_PATTERN": " | ".join(_cases(packed)) or "/",
        "GDB_WORDS": by_hand.GDB_WORDS,
        "GDB_ARGV": " ".join(gdb_arguments("gdb")),
        "VMLINUX": shlex.quote(vmlinux),
        "TELL_GDB": _TELL_GDB.replace("@SECTIONS@", by_hand.SECTIONS),
        "MODULES": "".join(
            f"        piece {shlex.quote(initramfs_parts[-1])} {one.offset + 1} {one.size} "
            f'>"$scratch/{module}.ko" || exit 3\n'
            for module, one in _modules(packed).items()
        ),
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
    packed: Sequence[Member] = (),
    vmlinux: str = "",
) -> Path:
    """Write the script of a cell's ``guest``, as `script` returns it, and return its path."""
    path = cell_dir / (f"reproduce-{guest}.sh" if guest > 1 else "reproduce.sh")
    text = script(
        argv, kernel=kernel, initramfs_parts=initramfs_parts, comment=comment, disks=disks, tools=tools,
        packed=packed, vmlinux=vmlinux,
    )  # fmt: skip
    write_atomically(path, text)
    path.chmod(0o755)
    return path


def _argument(argument: str) -> str:
    """Return one argument quoted for sh, with placeholders replaced by their variables."""
    if not argument:
        return "''"
    parts = re.split(f"({'|'.join(_VARIABLES)})", argument)
    return "".join(
        f'"{_VARIABLES[part]}"' if part in _VARIABLES else shlex.quote(part) for part in parts if part
    )


def _cases(packed: Sequence[Member]) -> list[str]:
    """Return the names of the cases in a cell's archive."""
    below = f"{HOME}/cases/"
    names = (one.name.removeprefix(below) for one in packed if one.name.startswith(below))
    return [name for name in names if CASE_ID.fullmatch(name)]


def _modules(packed: Sequence[Member]) -> dict[str, Member]:
    """Return the modules in a cell's archive, by the names that the kernel has for them."""
    found = {PurePosixPath(one.name): one for one in packed if one.name.endswith(".ko")}
    named = {path.stem.replace("-", "_"): one for path, one in found.items() if str(path.parent) == HOME}
    return {name: one for name, one in named.items() if re.fullmatch(r"\w+", name, re.ASCII)}


def _comment(comment: Mapping[str, str]) -> list[str]:
    """Return comment lines. No value can end its line."""
    lines = ["# Boots one cell of a kmodpipe run again and runs its cases."]
    for name, value in comment.items():
        for line in value.split("\n") or [""]:
            lines.append(f"# {visible(name)}: {visible(line)}".replace("\n", " ").rstrip())
    return lines
