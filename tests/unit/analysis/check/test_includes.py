"""Which headers a patch begins to use in a source that does not include them."""

from __future__ import annotations

import pytest

from kmodpipe.analysis.check import includes
from kmodpipe.analysis.check.model import Level

HEADERS = {
    "include/linux/random.h": "extern void get_random_bytes(void *buf, int n);\nu32 get_random_u32(void);\n",
    "include/linux/slab.h": "void *kmalloc(size_t size, gfp_t flags);\n#define KMALLOC_MAX 12\n",
    "include/linux/slab_def.h": "struct kmem_cache {\n\tint object_size;\n};\n",
    "include/uapi/linux/magic.h": "#define OVERLAYFS_SUPER_MAGIC 0x794c7630\n",
    "arch/x86/include/asm/page.h": "static inline void clear_page(void *p)\n{\n}\n",
    "include/linux/page.h": "#include <asm/page.h>\n",
    "include/linux/kernel.h": "#define pr_x(a) a\n",
    "fs/x/own.h": "#include <linux/random.h>\nint own_helper(int a);\n",
    "include/linux/enums.h": "enum colour {\n\tRED_ONE,\n\tRED_TWO = 4,\n};\ntypedef unsigned int shade_t;\n",
}
BEFORE = "#include <linux/fs.h>\nint f(void)\n{\n\treturn 0;\n}\n"


def found(after: str, before: str = BEFORE, headers: dict[str, str] | None = None) -> list[tuple[str, int]]:
    known = HEADERS if headers is None else headers
    lines = range(1, len(after.splitlines()) + 1)
    notes = includes.check(
        "fs/x/a.c", before, after, list(known), lambda name: {**known, "fs/x/a.c": after}.get(name, ""), lines
    )
    assert all(one.level is Level.NOTE and one.file == "fs/x/a.c" for one in notes)
    return [(one.text, one.line) for one in notes]


def test_a_header_that_is_used_and_not_included_is_named_with_the_line() -> None:
    after = BEFORE.replace("return 0", "return get_random_u32() + get_random_u32()")
    assert found(after) == [("uses get_random_u32 of <linux/random.h>, which it does not include", 4)]


@pytest.mark.parametrize(
    "after",
    [
        # Included, by itself or by a header of the folder.
        "#include <linux/random.h>\n" + BEFORE.replace("0", "get_random_u32()"),
        '#include "own.h"\n' + BEFORE.replace("0", "get_random_u32()"),
        # Declared in the folder, or here.
        '#include "own.h"\n' + BEFORE.replace("0", "own_helper(1)"),
        "static int get_random_u32(void);\n" + BEFORE.replace("0", "get_random_u32()"),
        # Only words.
        BEFORE.replace("0", "0 /* get_random_u32() */"),
        BEFORE.replace("0", '"kmalloc"[0]'),
        # A part of what is included; what every source has; asm by its linux.
        "#include <linux/slab.h>\n" + BEFORE.replace("0", "sizeof(struct kmem_cache)"),
        BEFORE.replace("0", "pr_x(1)"),
        "#include <linux/page.h>\n" + BEFORE.replace("0", "clear_page(0)"),
    ],
)
def test_what_is_included_or_no_use_is_not_named(after: str) -> None:
    assert found(after) == []


def test_what_the_source_used_before_is_not_the_patch_s() -> None:
    before = BEFORE.replace("0", "get_random_u32()")
    assert found(before + "/* more */ int y;\n", before) == []


def test_macros_types_and_constants_have_homes() -> None:
    after = BEFORE.replace("0", "KMALLOC_MAX + RED_TWO + sizeof(shade_t) + OVERLAYFS_SUPER_MAGIC")
    assert [text.split(" of ")[1].split(",")[0] for text, _ in found(after)] == [
        "<linux/enums.h>",
        "<linux/magic.h>",
        "<linux/slab.h>",
    ]


def test_a_call_in_another_header_is_no_declaration() -> None:
    headers = {"include/linux/a.h": "static inline int g(void)\n{\n\treturn get_random_u32();\n}\n"}
    assert found(BEFORE.replace("0", "get_random_u32()"), headers=headers) == []
