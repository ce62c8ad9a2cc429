"""The room ``series``: patches in order become a patched tree, or a clear reason why not."""

from __future__ import annotations

from kmodpipe.series.apply import applied_path, apply, mismatch
from kmodpipe.series.load import available, load
from kmodpipe.series.model import Patch, Series

__all__ = ["Patch", "Series", "applied_path", "apply", "available", "load", "mismatch"]
