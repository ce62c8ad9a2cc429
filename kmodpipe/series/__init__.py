"""Read a series of patches and apply it to a tree.

In: a folder of patches or a mailbox, and a tree.
Out: a patched tree, or an error that names the patch, file and hunk that does not apply.
"""

from __future__ import annotations

from kmodpipe.series.apply import DoesNotApply, applied_path, apply, mismatch
from kmodpipe.series.load import available, load, of_patch, of_working_tree
from kmodpipe.series.model import Patch, Port, Series

__all__ = [
    "DoesNotApply",
    "Patch",
    "Port",
    "Series",
    "applied_path",
    "apply",
    "available",
    "load",
    "mismatch",
    "of_patch",
    "of_working_tree",
]
