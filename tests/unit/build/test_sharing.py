"""Which cells share a base, from the sources and from what the compiler read, and what keys cover."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from kmodpipe.build.sharing import BaseSpec, Readings, Sharing, Subject
from kmodpipe.cache.store import Artifact
from kmodpipe.kconfig import Variant, ownership
from kmodpipe.series.model import Patch, Series
from kmodpipe.source import Tree
from kmodpipe.util.errors import InfraError
from tests.support.trees import write

FOLDER = "fs/toy"
TREE = {
    "Makefile": "obj-y += fs/\n",
    "Kconfig": 'source "fs/toy/Kconfig"\n',
    "fs/Makefile": "obj-$(CONFIG_TOY) += toy/\n",
    "fs/namespace.c": "int namespace;\n",
    "fs/toy/Kconfig": "config TOY\n\ttristate\nconfig TOY_INDEX\n\tbool\nconfig TOY_DEBUG\n\tbool\n",
    "fs/toy/Makefile": "obj-$(CONFIG_TOY) += toy.o\n",
    "fs/toy/toy.c": '#include "toy.h"\n',
    "fs/toy/toy.h": "int toy = CONFIG_TOY_INDEX;\n",
}
CONFIG = {"TOY": "m", "TOY_INDEX": "y", "NET": "y"}


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree("toy", write(tmp_path / "trees/toy", TREE), "dir:toy", "5.10.7")


@pytest.fixture
def sharing(tree: Tree) -> Sharing:
    return Sharing(tree, FOLDER)


def subject(tree: Tree, changes: Mapping[str, str] | None = None) -> Subject:
    """The control, or a series that writes these files."""
    variant = Variant("unpatched" if changes is None else "fix", "", {})
    if changes is None:
        return Subject(variant, None, tree.path)
    src = write(tree.path.with_name(f"patched-{len(list(tree.path.parent.iterdir()))}"), {**TREE, **changes})
    patch = Patch("0001.patch", src, "", tuple(changes))
    return Subject(variant, Series("fix", "", "", FOLDER, (), (patch,), ""), src)


def test_a_symbol_that_only_the_module_reads_may_differ(sharing: Sharing, tree: Tree) -> None:
    assert sharing.owned(subject(tree), CONFIG) == {"TOY_INDEX", "TOY_DEBUG"}
    assert sharing.patched(subject(tree), CONFIG) == {}


def test_what_a_series_reads_outside_the_folder_may_not(sharing: Sharing, tree: Tree) -> None:
    vfs = subject(tree, {"fs/namespace.c": "#ifdef CONFIG_TOY_INDEX\n"})
    assert sharing.owned(vfs, CONFIG) == {"TOY_DEBUG"}
    # Another series of the same run, and the control, are not concerned.
    assert sharing.owned(subject(tree), CONFIG) == {"TOY_INDEX", "TOY_DEBUG"}
    everything = subject(tree, {"fs/namespace.c": "#include <generated/autoconf.h>\n"})
    assert sharing.owned(everything, CONFIG) == frozenset()


def test_a_symbol_that_the_series_adds_is_searched_for_in_the_tree(sharing: Sharing, tree: Tree) -> None:
    write(tree.path, {"include/linux/skbuff.h": "#if IS_ENABLED(CONFIG_TOY_NEW)\n"})
    assert sharing.owned(subject(tree), CONFIG) == {"TOY_INDEX", "TOY_DEBUG"}
    kconfig = TREE["fs/toy/Kconfig"] + "config TOY_NEW\n\tbool\nconfig TOY_OWN\n\tbool\n"
    assert sharing.owned(subject(tree, {"fs/toy/Kconfig": kconfig}), CONFIG) == {
        "TOY_INDEX", "TOY_DEBUG", "TOY_OWN",
    }  # fmt: skip


@pytest.mark.parametrize("symbol", ownership.WHOLE_CONFIG)
def test_a_vmlinux_that_holds_the_configuration_is_shared_by_none(
    sharing: Sharing, tree: Tree, symbol: str
) -> None:
    assert sharing.owned(subject(tree), {**CONFIG, symbol: "y"}) == frozenset()


@pytest.mark.parametrize(
    "changes",
    [
        {"fs/toy/Makefile": "obj-$(CONFIG_TOY) += toy.o\nobj-$(CONFIG_TOY_INDEX) += index.o\n"},
        {"fs/namespace.c": '#include "toy/toy.h"\n', "fs/toy/toy.h": "int other;\n"},
    ],
)
def test_a_folder_with_a_part_in_vmlinux_owns_nothing_and_its_files_count(
    sharing: Sharing, tree: Tree, changes: dict[str, str]
) -> None:
    series = subject(tree, changes)
    assert sharing.owned(series, CONFIG) == frozenset()
    assert set(sharing.patched(series, CONFIG)) == set(changes)


def test_a_module_file_that_the_tree_itself_builds_in_counts(tree: Tree) -> None:
    write(tree.path, {"mm/shmem.c": '#include "../fs/toy/toy.h"\n'})
    series = subject(tree, {"fs/toy/toy.h": "int other;\n"})
    assert set(Sharing(tree, FOLDER).patched(series, CONFIG)) == {"fs/toy/toy.h"}


# A header of the folder that others include, with a symbol; what includes it is built with TARGET.
USED = {
    "fs/toy/disk.h": "int disk = CONFIG_TOY_DEBUG;\n",
    "drivers/target/Makefile": "obj-$(CONFIG_TARGET) += target.o\n",
    "drivers/target/target.c": '#include "../../fs/toy/disk.h"\n',
}


def test_a_header_of_the_folder_that_vmlinux_may_include_keeps_its_own_symbols_only(tree: Tree) -> None:
    write(tree.path, USED)
    sharing = Sharing(tree, FOLDER)
    assert sharing.owned(subject(tree), CONFIG) == {"TOY_INDEX", "TOY_DEBUG"}
    for value in ("m", "y"):
        assert sharing.owned(subject(tree), {**CONFIG, "TARGET": value}) == {"TOY_INDEX"}


def test_a_series_that_changes_such_a_header_counts_where_it_is_built(tree: Tree) -> None:
    write(tree.path, USED)
    sharing, built = Sharing(tree, FOLDER), {**CONFIG, "TARGET": "y"}
    changes = {**USED, "fs/toy/disk.h": "int other;\n"}
    series = subject(tree, {"fs/toy/disk.h": "int other;\n"})
    write(series.src, changes)
    assert set(sharing.patched(series, built)) == {"fs/toy/disk.h"}
    assert sharing.owned(series, built) == frozenset()
    assert sharing.patched(series, CONFIG) == {}
    other = subject(tree, {"fs/toy/toy.c": "int other;\n"})
    write(other.src, USED)
    assert sharing.patched(other, built) == {}
    assert sharing.owned(other, built) == {"TOY_INDEX"}


def test_what_was_found_is_the_same_when_it_is_recalled(tree: Tree) -> None:
    write(tree.path, {**USED, "mm/on.h": "#define ON(x) CONFIG_##x\n", "mm/x.c": "ON(TOY_INDEX)\n"})
    for config in (CONFIG, {**CONFIG, "TARGET": "y"}):
        assert Sharing(tree, FOLDER).owned(subject(tree), config) == Sharing(tree, FOLDER).owned(
            subject(tree), config
        )
    assert "TOY_INDEX" not in Sharing(tree, FOLDER).owned(subject(tree), CONFIG)


def test_documentation_counts_once_anything_else_outside_is_changed(sharing: Sharing, tree: Tree) -> None:
    docs = {"Documentation/kp.h": "int a;\n", "fs/toy/toy.c": "int b;\n"}
    assert sharing.patched(subject(tree, docs), CONFIG) == {}
    both = subject(tree, {**docs, "fs/namespace.c": '#include "../Documentation/kp.h"\n'})
    assert set(sharing.patched(both, CONFIG)) == {"Documentation/kp.h", "fs/namespace.c"}


def test_a_tree_is_searched_once(sharing: Sharing, tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    owned = sharing.owned(subject(tree), CONFIG)

    def search(*_: object) -> ownership.Outside:
        pytest.fail("searched again")

    monkeypatch.setattr(ownership, "search", search)
    assert Sharing(tree, FOLDER).owned(subject(tree), CONFIG) == owned
    (memory,) = tree.path.parent.glob("*.readers.json")
    for damaged in ("", "[]", '{"identity": "dir:toy", "module": "fs/toy"}', "{"):
        memory.write_text(damaged)
        with pytest.raises(pytest.fail.Exception):
            Sharing(tree, FOLDER).owned(subject(tree), CONFIG)
    with pytest.raises(pytest.fail.Exception):
        Sharing(replace(tree, identity="dir:other"), FOLDER).owned(subject(tree), CONFIG)


# -- what the compiler read --------------------------------------------------------------------------
READ = Readings(CONFIG, frozenset({"TOY_DEBUG"}), frozenset({"fs/namespace.c", "mm/table.h"}))


def misfit(
    tree: Tree, config: Mapping[str, str], changes: Mapping[str, str], readings: Readings = READ
) -> str:
    spec = BaseSpec(tree.path, tree.identity, "", "")
    return readings.misfit(spec, subject(tree, changes), config, FOLDER)


def test_a_cell_may_boot_a_base_that_did_not_read_where_they_differ(tree: Tree) -> None:
    assert misfit(tree, {**CONFIG, "TOY_INDEX": "n"}, {"fs/toy/toy.c": "int a;\n"}) == ""
    assert misfit(tree, {**CONFIG, "TOY_DEBUG": "n"}, {}) == "", "not set is n"


def test_a_cell_with_another_value_of_what_vmlinux_read_may_not(tree: Tree) -> None:
    assert misfit(tree, {**CONFIG, "TOY_DEBUG": "y"}, {}) == "vmlinux reads TOY_DEBUG"
    mixed = replace(READ, symbols=frozenset({"TOY_MIXED"}))
    assert misfit(tree, {**CONFIG, "TOY_mixed": "y"}, {}, mixed) == "vmlinux reads TOY_mixed"


def test_a_series_that_changes_what_vmlinux_is_compiled_from_may_not(tree: Tree) -> None:
    assert misfit(tree, CONFIG, {"mm/table.h": "int a;\n"}) == "vmlinux is compiled from mm/table.h"
    spec = BaseSpec(tree.path, "", "", "", patched=frozenset({"mm/table.h"}))
    assert READ.misfit(spec, subject(tree, {"mm/table.h": "int a;\n"}), CONFIG, FOLDER) == ""


def test_what_the_folder_generated_for_vmlinux_may_depend_on_all_of_it(tree: Tree) -> None:
    generated = replace(READ, files=frozenset({"fs/toy/gen.h"}))
    assert misfit(tree, CONFIG, {}, generated) == ""
    why = "vmlinux is compiled from fs/toy/gen.h"
    assert misfit(tree, {**CONFIG, "TOY_INDEX": "n"}, {}, generated) == why
    assert misfit(tree, CONFIG, {"fs/toy/gen.sh": ""}, generated) == why


def test_a_base_without_a_record_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InfraError, match="lacks what vmlinux was compiled from"):
        Readings.of(Artifact("base", "0" * 64, tmp_path))


# -- what Kconfig reads ------------------------------------------------------------------------------
