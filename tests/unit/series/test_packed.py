"""A series in one file: field by field as it was read."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from kmodpipe import series
from kmodpipe.series import packed
from kmodpipe.series.model import Patch, Port, Series, Unnoticed
from kmodpipe.util.errors import UserError
from tests.support import REPO

OURS = REPO / "patches"
# Not UTF-8, and a NUL: a patch is bytes.
BYTES = b"--- a/x\n+++ b/x\n@@ -1 +1 @@\n-\xff\x00\n+\xfe\r\n"


def odd() -> Series:
    patch = Patch(
        "0001-a b.patch", Path("/nowhere/é"), "ab" * 32, ("x", "dir/ü"), BYTES, 0, "text\n\n", "S", "A <a@b>"
    )
    return Series(
        "topic", "design", "", None, (">= 5.10",), (patch, replace(patch, name="2", data=b"")), "../l#a..b",
        axes={"data": "OTHER", "base64": "X"}, partial=True, subject="s", message_id="<m@x>", text="cover",
        notices=("n",), ports=(Port("p", ("< 5.4",), (patch,)),), port="p",
        unnoticed=(Unnoticed("x", "+y", "why", "kind", "of", "f"),),
    )  # fmt: skip


def back(one: Series, folder: Path) -> Series:
    path = folder / f"{one.name}{packed.SUFFIX}"
    path.write_bytes(packed.pack(one))
    return series.load(str(path), folder / "none")


@pytest.mark.parametrize("name", series.available(OURS))
def test_a_series_of_ours_is_the_same_again(name: str, tmp_path: Path) -> None:
    one = series.load(name, OURS)
    assert back(one, tmp_path) == one


def test_every_field_is_the_same_again(tmp_path: Path) -> None:
    assert back(odd(), tmp_path) == odd()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "cannot be read"),
        (b"[]", "cannot be read"),
        (b"{}", "not a series"),
        (json.dumps({"schema": packed.SCHEMA, "version": packed.VERSION + 1}).encode(), "not a series"),
        (json.dumps({"schema": packed.SCHEMA, "version": packed.VERSION, "series": {}}).encode(), "name"),
        (packed.pack(odd()).replace(b'"data": "', b'"data": "*'), "cannot be read"),
    ],
)
def test_what_is_none_is_refused(content: bytes, said: str, tmp_path: Path) -> None:
    path = tmp_path / f"x{packed.SUFFIX}"
    path.write_bytes(content)
    with pytest.raises(UserError) as caught:
        packed.load(path)
    assert said in str(caught.value)
