"""One reader for all documents: what is none is refused in time, with one clear error."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

import pytest
from pydantic import BaseModel

from kmodpipe.util import document, toml
from kmodpipe.util.document import Unreadable
from kmodpipe.util.errors import UserError


def test_a_document_is_read_as_it_is(tmp_path: Path) -> None:
    value = {"a": [1, -2.5e3, None, True, "ä🦊\u2028"], "b": {"c": 2**64 - 1}}
    path = tmp_path / "d.json"
    path.write_text(json.dumps(value))
    assert document.read_json(path) == value == document.read_object(path)
    # A pair of surrogates is one character, and a link to a file is a file.
    (tmp_path / "link").symlink_to(path)
    assert document.read_json(tmp_path / "link") == document.parse(
        '{"a":[1,-2.5e3,null,true,"\\u00e4\\ud83e\\udd8a\\u2028"],"b":{"c":18446744073709551615}}'
    )


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"\xff", "not UTF-8: byte 0"),
        (b"[NaN]", "holds NaN"),
        (b"[-Infinity]", "holds -Infinity"),
        (b"[1e999]", "not finite"),
        (b"[" + b"9" * 21 + b"]", "a number of 21 digits"),
        (b"[" + b"9" * 10_000 + b"]", "a number of 10000 digits"),
        (b'{"a": 1, "a": 2}', "the name 'a' twice"),
        (b'["\\ud800"]', "half a surrogate"),
        (b'{"\\udfff": 1}', "half a surrogate"),
        (b'["\\udd8a\\ud83e"]', "half a surrogate"),
        (b"[" * 65 + b"]" * 65, "64 levels"),
        (b"[" * 100_000, "64 levels"),
        (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "64 levels"),
        (b"[" + b"," * 8_000_001, "far more entries"),
    ],
    ids=lambda value: str(value[:20]),
)  # fmt: skip
def test_what_readers_take_in_different_ways_is_refused(text: bytes, told: str) -> None:
    with pytest.raises(Unreadable, match=told):
        document.parse(text)


def test_64_levels_are_read() -> None:
    assert document.parse("[" * 64 + "]" * 64)


def test_only_regular_files_of_a_size_are_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with (tmp_path / "large").open("wb") as f:
        f.truncate(2**30)
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(str(tmp_path / "socket"))
    (tmp_path / "loop").symlink_to("loop")
    wrong = {
        tmp_path: "it is a folder",
        tmp_path / "fifo": "it is a FIFO",
        tmp_path / "large": "larger than 16 MiB",
        Path("/dev/zero"): "it is a device",
        tmp_path / "none": "No such file",
        tmp_path / "loop": "Too many levels",
        tmp_path / "socket": "No such device",
    }
    for path, told in wrong.items():
        with pytest.raises(UserError, match=told) as e, document.given("the thing", str(path)):
            document.read_json(path)
        assert e.value.what.startswith("the thing cannot be read: ") and e.value.where == str(path)


class _Table(BaseModel):
    number: float = 0


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("number = nan", "not finite"),
        ("number = -inf", "not finite"),
        ("number = 1e999", "not finite"),
        ("number = " + "9" * 5000, "not TOML"),
        ("number = " + "[" * 100, "TOML"),
        ("a." * 100 + "b = 1", "64 parts"),
        ("[" + "'a' . " * 100 + "b]", "64 parts"),
        ('"a".' * 100_000 + "b = 1", "64 parts"),
        ("a" * 900_000 + " = 1\n" + "a." * 30_000, "64 parts"),
        ("number = '" + "." * 2_000_000 + "'", "larger than 1 MiB"),
        ("number = " + "[" * 5000 + "]" * 5000, "not TOML"),
    ],
    ids=lambda value: value[:20],
)
def test_toml_is_bounded_too(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "t.toml").write_text(text)
    with pytest.raises(UserError, match=told):
        toml.load(tmp_path / "t.toml", _Table, "the file")


def test_a_toml_file_that_is_none(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for path, told in (
        (tmp_path / "fifo", "a FIFO"),
        (tmp_path, "a folder"),
        (Path("/dev/zero"), "a device"),
    ):
        with pytest.raises(UserError, match=told):
            toml.read(path, "the file")
    with pytest.raises(UserError, match="does not exist") as e:
        toml.read(tmp_path / "none", "the file", missing_hint="make it")
    assert e.value.hint == "make it"
