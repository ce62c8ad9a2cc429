"""Which flavours the thorough tests build: all, or those in ``$KMODPIPE_TEST_FLAVOURS`` (``kasan,xfs``).

Each is a kernel of its own, some five minutes on two processors. The plain one is always built.
"""

from __future__ import annotations

import os

from kmodpipe.kconfig.matrix import PLAIN

_SAMPLE = frozenset(filter(None, os.environ.get("KMODPIPE_TEST_FLAVOURS", "").split(",")))


def is_built(flavour: str) -> bool:
    return not _SAMPLE or flavour == PLAIN or flavour in _SAMPLE
