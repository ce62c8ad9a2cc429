"""A report of `check` with every kind of outcome, and text that tries to be more than text."""

from __future__ import annotations

from kmodpipe.analysis.check.model import Finding, Level, Outcome, PatchReport, Report, SeriesReport

HOSTILE = "<script>alert(1)</script>\n::error file=x::forged\r\n##[error]x\x1b[31m%0A"
FILE = "fs/overlayfs/a,b:c <x>.c"

WARNING = Finding(Level.WARNING, "unused variable 'x'", "-Wunused-variable", "fs/overlayfs/super.c", 12, 15)
GONE = Finding(Level.WARNING, "line over 100", "LONG_LINE", "fs/overlayfs/dir.c", 7, 0)
UNSIGNED = Finding(Level.ERROR, "there is no Signed-off-by", "signed-off-by")
GROWS = Finding(Level.NOTE, "code of overlay.ko: 1 to 2 bytes, up 1 down 0 (f +1)", "bloat-o-meter")
NOTED = Finding(Level.NOTE, "spaces preferred", "SPACING", "fs/overlayfs/super.c", 3, 4, ("INDEX=y",))
ATTACK = Finding(Level.WARNING, HOSTILE, "X", FILE, 3, 3)

REPORT = Report(
    "20261129-1",
    "debian-5.10",
    (
        SeriesReport(
            "toy-fix",
            "",
            (
                PatchReport(
                    1, "0001-a.patch", "ovl: a",
                    (
                        Outcome("builds"),
                        Outcome("compiler", (WARNING,)),
                        Outcome("sparse", (), "there is no sparse here"),
                        Outcome("checkpatch", (GONE, NOTED)),
                        Outcome("kernel-doc", (), "", "the patch changes no C source"),
                        Outcome("tags", (UNSIGNED,)),
                        Outcome("size", (GROWS,)),
                    ),
                    "patches/toy-fix/0001-a.patch",
                ),
                PatchReport(
                    2, "0002-b.patch", "",
                    (
                        Outcome("builds"),
                        Outcome("compiler", (ATTACK, ATTACK)),
                        Outcome("sparse", (), "there is no sparse here"),
                        Outcome("checkpatch"),
                        Outcome("tags", (UNSIGNED,)),
                        Outcome("size"),
                    ),
                ),
            ),
            ("INDEX=y", "INDEX=n"),
        ),
    ),
    {"toy-fix on debian-12": "a distribution's kernel has no source to compile or patch"},
)  # fmt: skip
