"""Which messages the kernel may have kept back."""

from __future__ import annotations

import pytest

from kmodpipe.judge import rate_limits

OVL, EXT4 = "ovl_lookup: 12 callbacks suppressed", "EXT4-fs mount: 71 callbacks suppressed"


def test_only_the_kernels_own_words_tell() -> None:
    kmsg = ("overlayfs: refused", OVL, "3 callbacks suppressed", "a: callbacks suppressed", f"{EXT4}.", EXT4)
    assert rate_limits.told(kmsg) == (OVL, EXT4)


@pytest.mark.parametrize(
    "lines, wanted, line",
    [
        ((), ("refused",), ""),
        ((OVL,), (), ""),
        ((OVL,), ("refused",), OVL),
        # What ext4 says of each mount is no message of another file system.
        ((EXT4,), ("refused",), ""),
        ((EXT4,), ("EXT4-fs (loop0): unmounting",), EXT4),
        ((EXT4, OVL), ("refused",), OVL),
        (("EXT4-fs: 2 callbacks suppressed",), ("refused",), "EXT4-fs: 2 callbacks suppressed"),
    ],
)
def test_what_may_hide_a_text(lines: tuple[str, ...], wanted: tuple[str, ...], line: str) -> None:
    assert rate_limits.may_hide(lines, wanted) == line
