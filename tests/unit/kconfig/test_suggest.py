"""Fragments, symbols and axes for a module that has no configuration."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import pytest

from kmodpipe.kconfig.fragment import SymbolRequest, parse_fragment
from kmodpipe.kconfig.parser import index_tree
from kmodpipe.kconfig.suggest import MOST_AXES, Suggestion, suggest
from kmodpipe.util.errors import UserError

GENERAL = """\
config NET
\tbool "net"
config INET
\tbool "ip"
\tdepends on NET
config NETDEVICES
\tbool "devices"
\tdepends on NET
config BLOCK
\tbool "block"
config LIB
\ttristate
source "drivers/net/toy/Kconfig"
"""
TOY = """\
config TOY
\ttristate "a toy"
\tdepends on NETDEVICES

config TOY_STATS
\tbool "counts"
\tdepends on TOY

config TOY_STATS_MORE
\tbool "counts more"
\tdepends on TOY_STATS

config TOY_ZIP
\tbool "compresses"
\tdepends on TOY
\tselect LIB

config TOY_SPARC
\tbool "on another machine"
\tdepends on TOY && SPARC

config TOY_HIDDEN
\tdef_bool y
\tdepends on TOY

choice
\tprompt "one of"
\tdepends on TOY
config TOY_THIS
\tbool "this"
config TOY_THAT
\tbool "that"
endchoice

config OTHER
\ttristate "another one"
\tdepends on SPARC
config OTHER_DEBUG
\tbool "of the other"
\tdepends on OTHER
"""
FRAGMENTS = {
    "net.config": "CONFIG_NET=y\nCONFIG_INET=y\nCONFIG_NETDEVICES=y\n",
    "storage.config": "CONFIG_BLOCK=y\n",
    "foreign.config": "CONFIG_NET=y\nCONFIG_NOT_HERE=y\n",
}


def ready(fragments: Mapping[str, str]) -> dict[str, tuple[SymbolRequest, ...]]:
    return {name: parse_fragment(text, name) for name, text in fragments.items()}


def suggested(
    tmp_path: Path,
    *symbols: str,
    toy: str = TOY,
    fragments: Mapping[str, str] = FRAGMENTS,
    readers: Mapping[str, str] = MappingProxyType({}),
) -> Suggestion:
    folder = tmp_path / "drivers/net/toy"
    folder.mkdir(parents=True, exist_ok=True)
    (tmp_path / "Kconfig").write_text(GENERAL)
    (folder / "Kconfig").write_text(toy)
    index = index_tree(tmp_path)
    return suggest(index, "drivers/net/toy", symbols, (), {}, ready(fragments), lambda _: readers)


def test_a_ready_fragment_is_taken_and_the_rest_requested(tmp_path: Path) -> None:
    found = suggested(tmp_path, "TOY")
    assert found.fragments == ("net.config",)
    assert [(need.symbol, need.value) for need in found.needs] == [("TOY", "m")]


def test_without_one_each_symbol_is_requested(tmp_path: Path) -> None:
    found = suggested(tmp_path, "TOY", fragments={"storage.config": FRAGMENTS["storage.config"]})
    assert found.fragments == ()
    assert [(need.symbol, need.value) for need in found.needs] == [
        ("NET", "y"),
        ("NETDEVICES", "y"),
        ("TOY", "m"),
    ]


def test_a_fragment_that_rules_the_module_out_is_not_taken(tmp_path: Path) -> None:
    found = suggested(tmp_path, "TOY", toy=TOY.replace("NETDEVICES", "NETDEVICES && !INET", 1))
    assert found.fragments == ()
    assert {need.symbol for need in found.needs} == {"NET", "NETDEVICES", "TOY"}


def test_a_core_without_a_prompt_comes_with_the_module_that_is_named(tmp_path: Path) -> None:
    core = "config TOY_CORE\n\ttristate\nconfig TOY_X\n\ttristate 'x'\n\tselect TOY_CORE\n"
    toy = core + TOY.replace("NETDEVICES\n", "NETDEVICES\n\tselect TOY_CORE\n", 1)
    found = suggested(tmp_path, "TOY_CORE", "TOY", toy=toy)
    assert set(found.modules) == {"TOY_CORE", "TOY"}
    assert [need.symbol for need in found.needs] == ["TOY"]


def test_axes_are_the_bool_symbols_that_only_the_module_has(tmp_path: Path) -> None:
    found = suggested(tmp_path, "TOY")
    assert [(axis.name, axis.symbol, axis.title) for axis in found.axes] == [
        ("STATS", "TOY_STATS", "counts"),
        ("STATS_MORE", "TOY_STATS_MORE", "counts more"),
    ]
    assert {axis.symbol: axis.reason for axis in found.more} == {
        "TOY_ZIP": "selects LIB, so that each value has a base of its own to build",
        "TOY_SPARC": "needs SPARC",
    }


def test_the_fragment_of_a_device_is_for_its_module_alone(tmp_path: Path) -> None:
    found = suggested(tmp_path, "TOY", fragments={"nvme.config": "CONFIG_NET=y\nCONFIG_NETDEVICES=y\n"})
    assert found.fragments == ()


def test_a_symbol_that_is_read_elsewhere_is_no_axis_at_first(tmp_path: Path) -> None:
    found = suggested(tmp_path, "TOY", readers={"TOY_STATS": "net/core/dev.c has its name"})
    assert found.axes == ()
    reasons = {axis.symbol: axis.reason for axis in found.more}
    assert reasons["TOY_STATS"].startswith("net/core/dev.c has its name, so that each value has a base")
    assert reasons["TOY_STATS_MORE"] == "needs TOY_STATS"


def test_an_axis_whose_own_dependency_is_no_axis_waits(tmp_path: Path) -> None:
    more = 'config TOY_ZIP_FAST\n\tbool "fast"\n\tdepends on TOY_ZIP\n'
    found = suggested(tmp_path, "TOY", toy=TOY + more)
    assert "TOY_ZIP_FAST" not in {axis.symbol for axis in found.axes}
    assert {axis.symbol: axis.reason for axis in found.more}["TOY_ZIP_FAST"] == "needs TOY_ZIP"


def test_a_fragment_that_has_the_module_built_in_is_for_it(tmp_path: Path) -> None:
    fragments = {"toy.config": "CONFIG_NET=y\nCONFIG_INET=y\nCONFIG_BLOCK=y\nCONFIG_TOY=y\n"}
    found = suggested(tmp_path, "TOY", fragments=fragments)
    assert found.fragments == ("toy.config",)
    assert [(need.symbol, need.value) for need in found.needs] == [("NETDEVICES", "y"), ("TOY", "m")]


def test_of_many_axes_a_handful_is_taken(tmp_path: Path) -> None:
    many = "".join(f'config TOY_A{n}\n\tbool "a{n}"\n\tdepends on TOY\n' for n in range(MOST_AXES + 3))
    found = suggested(tmp_path, "TOY", toy=TOY + many)
    assert len(found.axes) == MOST_AXES
    assert sum(not axis.reason for axis in found.more) == 5


def test_of_several_modules_those_that_cannot_be_had_are_left_out(tmp_path: Path) -> None:
    found = suggested(tmp_path, "OTHER", "TOY")
    assert found.modules == ("TOY",)
    assert found.dropped == {"OTHER": "the tree has no symbol SPARC"}


def test_a_module_that_cannot_be_had_is_refused_with_the_chain(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        suggested(tmp_path, "OTHER")
    assert caught.value.what == "OTHER cannot be a module: SPARC is no symbol of x86-64"
    assert "OTHER depends on SPARC (drivers/net/toy/Kconfig:" in caught.value.detail
    assert caught.value.where.startswith("drivers/net/toy/Kconfig:")
