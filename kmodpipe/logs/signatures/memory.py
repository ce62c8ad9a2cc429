"""Sanitizers, allocators and data structures that were found corrupted. Data.

Sources: mm/kasan, mm/kfence, mm/kmsan, kernel/kcsan, lib/ubsan.c, mm/slub.c, mm/slab_common.c,
mm/page_alloc.c, mm/memory.c, mm/kmemleak.c, lib/refcount.c, lib/list_debug.c, 4.19 to 7.0.
"""

from __future__ import annotations

from kmodpipe.logs.signatures.model import SYM, sig
from kmodpipe.logs.signatures.model import Kind as K

OOM_BEGINS = "invoked oom-killer"
LEAKED_OBJECT, LEAKS_COUNTED = "unreferenced object", " new suspected memory leaks"

SANITIZERS = (
    sig(
        K.KASAN,
        rf"BUG: KASAN: (?P<what>[a-z-]+(?: or [a-z-]+)?)(?: in (?P<at>{SYM}))?",
        "KASAN: {what} in {function}",
        token="BUG: KASAN",
        frame=True,
    ),
    sig(
        K.KFENCE,
        rf"BUG: KFENCE: (?P<what>[a-z- ]+?)(?: (?:read|write))? in (?P<at>{SYM})",
        "KFENCE: {what} in {function}",
        token="BUG: KFENCE",
        frame=True,
    ),
    sig(
        K.KMSAN,
        rf"BUG: KMSAN: (?P<what>[a-z][a-z -]{{2,40}}?)(?: in (?P<at>{SYM})|$)",
        "KMSAN: {what} in {function}",
        token="BUG: KMSAN",
        frame=True,
    ),
    sig(
        K.KCSAN,
        rf"BUG: KCSAN: (?P<what>assert: race|[a-z-]+) in (?P<a>{SYM})[^/]{{0,60}}(?:/ (?P<b>{SYM}))?",
        "KCSAN: {what} in {a} / {b}",
        token="BUG: KCSAN",
    ),
    sig(
        K.UBSAN,
        r"UBSAN: (?P<what>[A-Za-z-]+(?: [a-z]+)?) in .{1,300}:\d+",
        "UBSAN: {what} in {function}",
        token="UBSAN: ",
        frame=True,
    ),
    sig(
        K.KMEMLEAK,
        r"unreferenced object (?:\(percpu\) )?0x[0-9a-f]+ \(size \d+\)",
        "memory leak in {function}",
        token=LEAKED_OBJECT,
        frame=True,
    ),
    sig(K.KMEMLEAK, r"BUG: memory leak", "memory leak in {function}", token="BUG: memory leak", frame=True),
    sig(
        K.KMEMLEAK,
        r"kmemleak: \d+ new suspected memory leaks",
        "memory leak",
        token=LEAKS_COUNTED,
        single=True,
    ),
    # After this message it reports no leak any more, so the absence of reports proves nothing.
    sig(
        K.KMEMLEAK,
        r"Kernel memory leak detector disabled",
        "kmemleak has given up",
        token="leak detector",
        single=True,
    ),
)
STRUCTURES = (
    sig(
        K.REFCOUNT,
        r"refcount_t: (?P<what>[a-z0-9 -]+)",
        "refcount: {what} in {function}",
        token="refcount_t: ",
        frame=True,
    ),
    sig(
        K.LIST,
        r"(?P<what>list_(?:add|del)) (?:corruption|double add)",
        "{what} corruption in {function}",
        token="list_",
        frame=True,
    ),
    sig(
        K.SLAB,
        r"BUG (?P<cache>\S.{0,80}?)(?:\(\d{1,9}:[^)]{0,40}\))? \((?:Not tainted|Tainted)[^)]{0,80}\): "
        r"(?P<what>.{1,100})",
        "slab: {what} in {cache}",
        token="BUG ",
        frame=True,
    ),
    sig(
        K.SLAB,
        r"kmem_cache_destroy (?P<cache>\S.{0,80}?): Slab cache still has objects",
        "slab: {cache} is destroyed with objects in {function}",
        token="Slab cache still has objects",
        frame=True,
    ),
    sig(
        K.SLAB,
        r"slab error in \w+\(\): cache [`'](?P<cache>[^']{1,80})': (?P<what>[A-Za-z][A-Za-z -]+)",
        "slab: {what} in {cache}",
        token="slab error in",
        frame=True,
    ),
    sig(
        K.SLAB,
        r"Slab corruption(?: \([^)]{0,40}\))?: (?P<cache>\S+)",
        "slab: corruption in {cache}",
        token="Slab corruption",
    ),
    sig(
        K.SLAB,
        r"pagealloc: (?P<what>memory corruption|single bit error)",
        "pagealloc: {what} in {function}",
        token="pagealloc: ",
        frame=True,
    ),
    sig(
        K.BUG,
        r"BUG: Bad (?P<what>page state|page map|page cache)",
        "BUG: Bad {what} in {function}",
        token="BUG: Bad page",
        frame=True,
    ),
    sig(
        K.BUG,
        r"\.[chS]:\d+: bad (?P<what>pgd|p4d|pud|pmd|pte) ",
        "bad {what} in the page tables",
        token=": bad p",
        single=True,
    ),
    sig(
        K.BUG,
        r"BUG: Bad rss-counter state",
        "BUG: Bad rss-counter state",
        token="BUG: Bad rss",
        single=True,
    ),
    sig(
        K.BUG,
        r"BUG: (?P<what>non-zero \w+) on freeing mm",
        "BUG: {what} on freeing mm",
        token="on freeing mm",
        single=True,
    ),
    sig(
        K.BUG,
        r"swap\w*: (?:Bad|Unused) swap (?:file|offset) entry",
        "a bad swap entry",
        token="d swap ",
        single=True,
    ),
)
OUT_OF_MEMORY = (
    sig(
        K.OOM,
        r"invoked oom-killer: gfp_mask=",
        "out of memory in {function}",
        token=OOM_BEGINS,
        frame=True,
    ),
    sig(
        K.OOM,
        r"emory cgroup out of memory: Kill(?:ed)? process \d+ \((?P<comm>[^)]{1,32})\)",
        "out of memory: killed {comm}",
        token="emory cgroup out of memory",
    ),
    sig(
        K.OOM,
        r"Out of memory(?: \([\w ]{1,40}\))?: Kill(?:ed)? process \d+ \((?P<comm>[^)]{1,32})\)",
        "out of memory: killed {comm}",
        token="Out of memory",
    ),
)
