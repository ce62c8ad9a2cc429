"""What checkstack.pl printed of overlay.ko, and frames that change."""

from __future__ import annotations

from kmodpipe.analysis.check import stack
from kmodpipe.analysis.check.model import Level
from kmodpipe.analysis.check.stack import Frames

PRINTED = """\
0
0x000000000000d070 ovl_copy_up_one [overlay]:\t\t1152
0x0000000000008cc0 ovl_clear_empty [overlay]:\t\t544
0x00000000000039c0 ovl_lookup.isra.0 [overlay]:\t\t384
0x00000000000039d0 ovl_lookup [overlay]:\t\t392
0x000000000000c270 ovl_workdir_cleanup_recurse [overlay]:160
0x0000000000001230 dyn []:\t\tDynamic (0x40)
"""


def test_frames_are_read_and_copies_of_a_function_are_one() -> None:
    assert stack.parse(PRINTED) == Frames(
        {
            "ovl_copy_up_one": 1152,
            "ovl_clear_empty": 544,
            "ovl_lookup": 392,
            "ovl_workdir_cleanup_recurse": 160,
            "dyn": 64,
        }
    )


def test_one_that_does_not_work_is_never_clean() -> None:
    assert "no scripts/checkstack.pl" in stack.parse("none\n").failed
    assert stack.parse("2\nCan't locate strict.pm\n").failed == "checkstack ended with status 2"
    assert (
        "printed 'wrong or unknown architecture"
        in stack.parse('0\nwrong or unknown architecture "x"\n').failed
    )
    assert stack.parse("").failed


def test_frames_that_change_are_notes_and_the_bound_is_named() -> None:
    before = Frames({"big": 1000, "old": 1500, "small": 40, "shrinks": 900})
    after = Frames({"big": 1100, "old": 1500, "small": 96, "new": 200, "shrinks": 100})
    found = {(one.level, one.text) for one in stack.compare(before, after)}
    assert found == {
        (Level.NOTE, "the stack frame of big goes from 1000 to 1100 bytes, which is more than 1024"),
        (Level.NOTE, "the stack frame of new goes from 0 to 200 bytes"),
    }
    assert not any("more than" in one.text for one in stack.compare(before, after, 2048))
