"""Every form that people keep patches in gives the same tree."""

from __future__ import annotations

import gzip
import io
from pathlib import Path

import pytest

from kmodpipe import series, source
from kmodpipe.util.errors import UserError
from kmodpipe.util.screen import Mode, Screen
from tests.support import sample_mails
from tests.support.sample_mails import FORMS, Made
from tests.support.trees import write


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return sample_mails.make(tmp_path_factory.mktemp("made"))


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def applied(arg: str, made: Made, cache: Path) -> dict[str, bytes]:
    screen = Screen(Mode.QUIET, out=io.StringIO())
    tree = source.fetch(source.resolve(str(made.repository.parent / "base"), {}), {}, cache, screen)
    return dict(sample_mails.files(series.apply(series.load(arg, cache), tree, cache, screen)))


@pytest.mark.parametrize("name", FORMS)
def test_a_form_gives_the_tree_that_git_has(name: str, made: Made, cache: Path, tmp_path: Path) -> None:
    arg = FORMS[name](made, tmp_path / "form")
    assert applied(arg, made, cache) == made.patched


@pytest.mark.parametrize("options", [(), ("--label", "fs/toy/toy.h", "--label", "fs/toy/toy.h")])
def test_diff_u_gives_the_contents_that_git_has(
    options: tuple[str, ...], made: Made, cache: Path, tmp_path: Path
) -> None:
    text = sample_mails.plain_diff(made)
    wanted = {name: data[2:] for name, data in made.patched.items()}
    if options:
        # As `diff -u fs/toy/toy.h.orig fs/toy/toy.h` at the top of the tree.
        text = text.replace(b"--- base/", b"--- ").replace(b"+++ work/", b"+++ ")
    (tmp_path / "x.diff").write_bytes(text)
    found = applied(str(tmp_path / "x.diff"), made, cache)
    assert {name: data[2:] for name, data in found.items()} == wanted


def test_a_bomb_is_refused_at_its_limit(tmp_path: Path) -> None:
    (tmp_path / "x.mbox.gz").write_bytes(gzip.compress(gzip.compress(b"\0" * (200 << 20))))
    write(tmp_path, {"packed.patch": ""})
    (tmp_path / "bomb.patch.gz").write_bytes(gzip.compress(b"\0" * (65 << 20)))
    with pytest.raises(UserError, match="larger than 64 MiB"):
        series.load(str(tmp_path / "bomb.patch.gz"), tmp_path)
    with pytest.raises(UserError, match="carries a patch"):
        series.load(str(tmp_path / "x.mbox.gz"), tmp_path)
