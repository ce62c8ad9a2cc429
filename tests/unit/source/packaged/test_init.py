"""The door to distributions' kernels."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from kmodpipe.source import packaged
from kmodpipe.source.packaged import PackagedKernelSpec
from kmodpipe.util.errors import UserError
from kmodpipe.util.screen import Mode, Screen


def test_a_pinned_kernel_has_no_newer_one(tmp_path: Path) -> None:
    given = {
        "name": "one",
        "debian-kernel": "linux-image-amd64",
        "version": "6.1.1-1",
        "suites": ["bookworm"],
    }
    spec = PackagedKernelSpec.model_validate(given)
    with pytest.raises(UserError, match="kernel one has no newer one: it is pinned"):
        packaged.fetch(spec, tmp_path, Screen(Mode.QUIET, out=io.StringIO()), head=True)
