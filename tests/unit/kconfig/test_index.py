"""An index is the same when it was written and read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kmodpipe import kconfig
from kmodpipe.kconfig import index
from kmodpipe.kconfig.parser import index_tree
from kmodpipe.util import kept

KCONFIG = """\
config A
	bool "first" if EXPERT
	default y if B && !C
	default n

menu "more"
	depends on NET

config B
	tristate "it's \\"quoted\\""
	depends on A || (C = "x" && D != 3) if EXPERT
	select A if $(cc-option,-mfoo)
	select UNKNOWN

choice
config C
	string
	depends on !B
endchoice
endmenu
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    made = tmp_path / "tree"
    (made / "sub").mkdir(parents=True)
    (made / "Kconfig").write_text('source "sub/Kconfig"\nsource "none/Kconfig"\n')
    (made / "sub" / "Kconfig").write_text(KCONFIG)
    return made


def test_an_index_is_the_same_after_it_was_written_and_read(tree: Path) -> None:
    whole = index_tree(tree)
    assert {name: len(found) for name, found in whole.definitions.items()} == {"A": 1, "B": 1, "C": 1}
    assert whole.definitions["B"][0].selects[1] == ("UNKNOWN", None)
    assert index.from_plain(json.loads(json.dumps(index.to_plain(whole)))) == whole


@pytest.mark.parametrize(
    "value",
    [
        None,
        {},
        {"definitions": {"A": [["f", 1]]}, "selections": {}},
        {"definitions": {}, "selections": {"A": [[1, None, "x"]]}},
    ],
)
def test_other_values_are_no_index(value: object) -> None:
    with pytest.raises((TypeError, KeyError, ValueError)):
        index.from_plain(value)


def test_a_later_process_takes_it_from_the_disk_until_a_file_changes(tree: Path, tmp_path: Path) -> None:
    def read() -> kconfig.Index:
        with kept.on_disk(tmp_path / "kept"):
            return kconfig.index_symbols(tree, ["A", "B", "LOST"])

    first = read()
    assert read() == first
    (file,) = (tmp_path / "kept" / "kconfig").iterdir()
    # That it is read shows where it holds something else.
    file.write_text(file.read_text().replace("sub/Kconfig:12", "sub/Kconfig:99"))
    assert read().selections["A"][0].where == "sub/Kconfig:99"
    with (tree / "sub" / "Kconfig").open("a") as f:
        f.write("config LOST\n\tbool\n")
    assert read().definitions["LOST"][0].file == "sub/Kconfig" and read().selections == first.selections
    (tree / "none").mkdir()
    (tree / "none" / "Kconfig").write_text("config LOST\n\tint\n")
    assert len(read().definitions["LOST"]) == 2
