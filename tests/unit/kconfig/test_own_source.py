"""How a matrix declares a module that is in no tree."""

from __future__ import annotations

from pathlib import Path

import pytest

from kmodpipe.kconfig.matrix import load_matrix
from kmodpipe.kconfig.own_source import OwnSource, is_own
from kmodpipe.util.errors import UserError


def matrix(folder: Path, text: str) -> Path:
    path = folder / "matrix.toml"
    path.write_text(text)
    return path


def test_a_source_has_a_control_arguments_and_what_it_needs(tmp_path: Path) -> None:
    text = 'module = { source = "src", control = "v1", make = "all KDIR={kit}", needs = ["sch-fq"] }'
    found = load_matrix(matrix(tmp_path, text)).module
    assert found == OwnSource(source="src", control="v1", make="all KDIR={kit}", needs=("sch_fq",))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("{ source = '' }", "source"),
        ("{ sources = '.' }", "sources"),
        ("{ source = '.', make = 'all; reboot' }", "without a shell"),
        ("{ source = '.', make = 'A=$(id)' }", "without a shell"),
        ("{ source = '.', needs = ['drivers/x.ko'] }", "without .ko"),
        ("7", "module"),
    ],
)
def test_anything_else_is_refused_with_its_line(tmp_path: Path, given: str, words: str) -> None:
    with pytest.raises(UserError) as caught:
        load_matrix(matrix(tmp_path, f"module = {given}"))
    assert words in str(caught.value)
    assert "matrix.toml:1" in caught.value.where


def test_the_matrix_may_be_a_table_of_the_projects_file(tmp_path: Path) -> None:
    path = tmp_path / "kmodpipe.toml"
    path.write_text('cases = "c"\n[matrix]\nmodule = { source = "." }\nkernels = ["debian-12"]\n')
    found = load_matrix(path)
    assert found.kernels == ("debian-12",)
    path.write_text('[tool.kmodpipe.matrix]\nmodule = "fs/fuse"\n')
    assert load_matrix(path).module == "fs/fuse"


@pytest.mark.parametrize("given", [".", "./src", "../m", "/home/me/m", "~/m", "https://example.org/m.git#v1"])
def test_a_path_or_a_url_is_a_source(given: str) -> None:
    assert is_own(given)


@pytest.mark.parametrize("given", ["fs/overlayfs", "crypto", "lib", ".hidden"])
def test_other_names_are_folders_of_the_tree(given: str) -> None:
    assert not is_own(given)
