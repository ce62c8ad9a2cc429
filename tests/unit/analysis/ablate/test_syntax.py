"""What of a change is code, by the kind of file; and where C is."""

from __future__ import annotations

import pytest

from kmodpipe.analysis.ablate import syntax

KCONFIG = """\
config FOO
\tbool "foo"
\tdepends on BAR
\thelp
\t  This is foo.

\t  If unsure, say N.

config BAR
\tbool "bar"
"""


@pytest.mark.parametrize(
    ("path", "before", "after", "same"),
    [
        ("fs/a.c", "int a; /* one */\n", "/* two\n * lines */\nint   a;\n", True),
        ("fs/a.c", "int a;\n", "int b;\n", False),
        ("fs/a.c", 'char *a = "x";\n', 'char *a = "x ";\n', False),
        ("fs/a.h", "#define A(x) (x) /* one */\n", "#define A(x) (x)\n", True),
        ("fs/a.h", "#define A(x) (x)\n", "#define A(x) (x) + 1\n", False),
        ("fs/Kconfig", KCONFIG, KCONFIG.replace("This is foo.", "That was foo, once."), True),
        ("fs/Kconfig", KCONFIG, KCONFIG.replace("\t  If", "\t  config X\n\t  If"), True),
        ("fs/Kconfig", KCONFIG, KCONFIG.replace("depends on BAR", "depends on BAZ"), False),
        (
            "fs/Kconfig",
            KCONFIG,
            KCONFIG.replace('config BAR\n\tbool "bar"', 'config BAZ\n\tbool "bar"'),
            False,
        ),
        ("fs/Kconfig", KCONFIG, KCONFIG + "# the end\n", True),
        ("fs/Makefile", "obj-m += a.o # a\n", "obj-m += a.o\n", True),
        ("fs/Makefile", "obj-m += a.o\n", "obj-m += b.o\n", False),
        ("Documentation/a.rst", "one", "two", True),
        ("fs/README.md", "one", "two", True),
        ("scripts/a.sh", "echo # one\n", "echo # two\n", False),
    ],
)
def test_what_is_code(path: str, before: str, after: str, same: bool) -> None:
    assert syntax.same_code(path, before.encode(), after.encode()) is same


def test_a_file_that_comes_or_goes_is_code() -> None:
    assert not syntax.same_code("fs/a.c", None, b"int a;\n")
    assert not syntax.same_code("fs/a.c", b"int a;\n", None)


def test_lines_in_the_bodies_of_functions() -> None:
    source = b"int a;\n\nint f(void)\n{\n\treturn 1;\n}\n/* text */\n"
    assert syntax.all_inside(source, [4, 5]) and syntax.all_inside(source, [5, 7])
    assert not syntax.all_inside(source, [1]) and not syntax.all_inside(source, [5, 1])
