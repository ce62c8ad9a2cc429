"""Write a patch as the mail that checkpatch reads. Pure."""

from __future__ import annotations

import re

from kmodpipe.series.model import Patch
from kmodpipe.series.numbering import tag_of
from kmodpipe.util.text import one_line

_DIFF = re.compile(rb"^(?:diff --git |Index: |--- \S)", re.MULTILINE)


def mail(patch: Patch, number: int, of: int) -> bytes:
    """Return a patch as git format-patch writes it; a bare diff stays one, as it has nothing to sign off.

    From the outside are author, subject and message, of which only the message may have lines.
    """
    if patch.is_bare:
        return patch.data
    where = f" {number}/{of}" if of > 1 else ""
    head = f"From: {one_line(patch.author)}\n" if patch.author else ""
    head += f"Subject: [PATCH{where}] {one_line(tag_of(patch.subject).bare)}\n\n{patch.text.strip()}\n---\n"
    # The data of a patch that is a file of its own is all of it, its message included.
    begins = _DIFF.search(patch.data)
    diff = patch.data[begins.start() :] if begins else patch.data
    return head.encode("utf-8", "surrogateescape") + b"\n" + diff
