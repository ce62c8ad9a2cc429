"""Messages that are errors only where a case or the project watches for them. Data.

A test of error paths provokes them on purpose, so they count only where `watch` names their group. They are
read in any case: most of them dump a stack, which would look like a report under an unknown header.
Sources: fs/ext4/super.c, fs/btrfs/messages.c, fs/xfs/xfs_error.c, fs/overlayfs, block/blk-core.c,
mm/page_alloc.c, mm/vmalloc.c, kernel/irq/spurious.c, lib/fault-inject.c, drivers/tty/sysrq.c, 4.19 to 7.0.
"""

from __future__ import annotations

from kmodpipe.logs.signatures.model import QUIET, Signature, sig
from kmodpipe.logs.signatures.model import Kind as K
from kmodpipe.logs.watch import Watch


def _watched(group: str, token: str, pattern: str, title: str, *, trace: bool = False) -> Signature:
    """Return a row for a message that is one line, or has a trace."""
    return sig(K.WATCHED, pattern, title, token=token, frame=True, single=not trace, watch=group)


_FS, _BLOCK = Watch.FS_ERRORS, Watch.BLOCK_ERRORS
WATCHED = (
    _watched(_FS, "-fs error", r"(?P<fs>EXT[234])-fs error\b", "{fs}: error"),
    _watched(
        _FS, "Delayed block allocation", r"EXT4-fs .{0,60}Delayed block allocation failed", "EXT4: lost data"
    ),
    _watched(
        _FS, "filesystem read-only", r"EXT[234]-fs .{0,60}Remounting filesystem read-only", "EXT4: read-only"
    ),
    _watched(_FS, "JBD2: ", r"JBD2: (?P<what>Error|Detected IO errors|Failed|Spotted dirty)", "JBD2: {what}"),
    _watched(_FS, "Aborting journal", r"Aborting journal on device", "JBD2: aborting journal"),
    _watched(_FS, "BTRFS", r"BTRFS:? (?:error|critical|panic|fatal)\b", "BTRFS: error"),
    _watched(_FS, "BTRFS: ", r"BTRFS: Transaction aborted", "BTRFS: transaction aborted"),
    _watched(
        _FS,
        "XFS ",
        r"XFS \(.{1,40}?\): .{0,120}?(?P<what>[cC]orruption|Metadata CRC error|[iI]nternal error|"
        r"Shut(?:ting)? down filesystem|metadata I/O error)",
        "XFS: {what}",
    ),
    _watched(
        _FS,
        "F2FS-fs",
        r"F2FS-fs \(.{1,40}?\): .{0,80}?(?P<what>[iI]nconsistent|[cC]orrupt\w*|invalid)",
        "F2FS: {what}",
    ),
    _watched(_FS, "FAT-fs", r"FAT-fs \(.{1,40}?\): error", "FAT: error"),
    _watched(_FS, "GFS2: ", r"GFS2: fsid=.{1,80}?(?:fatal|withdraw)", "GFS2: error"),
    _watched(_FS, "SQUASHFS error", r"SQUASHFS error:", "SQUASHFS: error"),
    _watched(
        _FS, "EROFS", r"erofs: \(device .{1,40}?\): \S+?: .{0,80}(?:corrupt|bogus)", "EROFS: corruption"
    ),
    _watched(_BLOCK, "I/O error", r"(?:critical |^|: )?(?:I/O|medium|target) error, dev ", "I/O error"),
    _watched(_BLOCK, "Buffer I/O error", r"Buffer I/O error on dev", "buffer I/O error"),
    _watched(
        _BLOCK, "lost ", r"lost (?:async|sync) page write|lost page write due to I/O error", "lost page write"
    ),
    _watched(
        Watch.ALLOCATION_FAILURES,
        "allocation failure",
        r"(?:page|vmalloc|vmap)\b.{0,40}allocation failure",
        "page allocation failure in {function}",
        trace=True,
    ),
    _watched(
        Watch.ALLOCATION_FAILURES,
        "SLUB: Unable to allocate",
        r"SLUB: Unable to allocate memory",
        "slab allocation failure",
        trace=False,
    ),
    _watched(
        Watch.ALLOCATION_FAILURES,
        "percpu: allocation failed",
        r"percpu: allocation failed",
        "percpu allocation failure in {function}",
        trace=True,
    ),
    _watched(
        Watch.IRQ_ERRORS, "nobody cared", r"irq (?:event )?\d+: nobody cared", "irq: nobody cared", trace=True
    ),
    _watched(
        Watch.IRQ_ERRORS,
        "bogus return value",
        r"irq event \d+: bogus return value",
        "irq: bogus return value",
        trace=True,
    ),
    _watched(
        QUIET,
        "FAULT_INJECTION",
        r"FAULT_INJECTION: forcing a failure",
        "an injected failure in {function}",
        trace=True,
    ),
    _watched(QUIET, "sysrq: ", r"sysrq: \w", "sysrq", trace=True),
)
