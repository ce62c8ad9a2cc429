"""What nm and genksyms printed of a module that exports symbols."""

from __future__ import annotations

from kmodpipe.analysis.check import exports
from kmodpipe.analysis.check.exports import Exports

SYMBOLS = """\
== lib/crc7.ko
0000000000000000 T crc7_be
0000000000000000 0000000000000100 R crc7_be_syndrome_table
0000000000000000 r __ksymtab_crc7_be
000000000000000c r __ksymtab_crc7_be_syndrome_table
0000000000000000 r __kstrtab_crc7_be
                 U printk
"""
CRCS = "== 0 lib/crc7.c\n__crc_crc7_be = 0x4e1ce26a;\n__crc_crc7_be_syndrome_table = 0xba95c527;\n"


def test_exported_symbols_have_versions() -> None:
    assert exports.parse(SYMBOLS, CRCS) == Exports(
        {"crc7_be": 0x4E1CE26A, "crc7_be_syndrome_table": 0xBA95C527}
    )
    later = "== 0 lib/crc7.c\n#SYMVER crc7_be 0x4e1ce26a\n#SYMVER crc7_be_syndrome_table 0xba95c527\n"
    assert exports.parse(SYMBOLS, later) == exports.parse(SYMBOLS, CRCS)
    assert exports.parse("== a.ko\n", "") == Exports()


def test_versions_that_cannot_be_had_are_no_clean_result() -> None:
    found = exports.parse(SYMBOLS, "== 127 lib/crc7.c\nsh: 1: scripts/genksyms/genksyms: not found\n")
    assert found.failed == "no versions of the symbols of lib/crc7.c: genksyms failed"
    assert exports.parse(SYMBOLS, "").failed == "no versions of the exported symbols"


def test_what_is_new_gone_or_another_type_is_told() -> None:
    before = Exports({"same": 1, "gone": 2, "other": 3, "unknown": 0})
    after = Exports({"same": 1, "new": 2, "other": 4, "unknown": 5})
    assert [one.text for one in exports.compare(before, after)] == [
        "exports new",
        "no longer exports gone",
        "the type of other, which is exported, changes: version 0x00000003 to 0x00000004",
    ]
