"""What nm printed of two modules, as bloat-o-meter would compare them."""

from __future__ import annotations

from kmodpipe.analysis.check import sizes
from kmodpipe.analysis.check.model import Level
from kmodpipe.analysis.check.sizes import Symbols

PRINTED = """\
== fs/overlayfs/overlay.ko
0000000000000245 r .LC0
0000000000000000 0000000000000010 t ovl_a
0000000000000040 0000000000000020 t ovl_b.isra.0
0000000000000060 0000000000000008 t ovl_b.part.0
0000000000000000 0000000000000008 d ovl_param
0000000000000000 00000000000000c0 r __param_index
0000000000000000 0000000000000340 D __this_module
0000000000000000 0000000000000040 r __UNIQUE_ID_name123
                 U printk
"""


def test_functions_and_data_are_added_up_by_name() -> None:
    found = sizes.parse(PRINTED)
    assert found == {
        "fs/overlayfs/overlay.ko": Symbols({"ovl_a": 16, "ovl_b": 40}, {"ovl_param": 8, "__param_index": 192})
    }


def test_what_changed_most_is_named_first() -> None:
    before = {"a/m.ko": Symbols({"same": 5, "up": 10, "gone": 7}, {"d": 1})}
    after = {"a/m.ko": Symbols({"same": 5, "up": 30, "new": 4}, {"d": 1})}
    (one,) = sizes.compare(before, after)
    assert one.level is Level.NOTE
    assert one.text == "code of m.ko: 22 to 39 bytes, up 24 down 7 (up +20, gone -7, new +4)"
    assert sizes.compare(before, before) == ()


def test_a_long_list_is_cut() -> None:
    after = {"m.ko": Symbols({f"f{n}": n for n in range(1, 30)}, {})}
    (one,) = sizes.compare({}, after)
    assert one.text.endswith("f24 +24 and 23 more)")
