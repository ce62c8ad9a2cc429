"""A tree whose source reads symbols, and how to look at it."""

from __future__ import annotations

from pathlib import Path

KCONFIG = """\
config X
\ttristate "x"
config X_INDEX
\tbool "index"
config X_UUID_OFF
\tbool "without X_NOUUID"
\tdepends on X_INDEX || \\
\t\tX
\thelp
\t  Unlike X_INDEX, it is off.
config X_MORE
\tbool "more" if X_UUID_OFF
\tselect X_INDEX
"""
SOURCE = """\
/* CONFIG_X_UUID_OFF in a comment is none */
static bool index = IS_ENABLED(CONFIG_X_INDEX); // CONFIG_X_UUID_OFF
static const char *told = "/* not a comment", *more = "*/";
static bool uuid = !IS_ENABLED(CONFIG_X_NOUUID_OFF);
#ifdef CONFIG_X_MODULE
#endif /* CONFIG_X_MORE */
"""


def tree(root: Path) -> Path:
    given = {
        "Kconfig": 'source "fs/x/Kconfig"\n',
        "fs/x/Kconfig": KCONFIG,
        "fs/x/super.c": SOURCE,
        "fs/x/Makefile": "obj-$(CONFIG_X) += x.o # CONFIG_X_UUID_OFF\n",
    }
    for name, text in given.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root
