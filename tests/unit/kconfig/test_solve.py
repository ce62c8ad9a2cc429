"""What has to be requested so that a symbol can be m."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import pytest

from kmodpipe.kconfig.parser import index_tree
from kmodpipe.kconfig.solve import Unreachable, solve

GENERAL = """\
config BLOCK
\tbool "block"
config NET
\tbool "net"
config PCI
\tbool "pci"
config BUS
\tbool "bus"
\tdepends on PCI
config BUSLESS
\tbool "no bus"
config LIB
\ttristate
config CORE
\ttristate
config CARD
\ttristate "card"
\tdepends on PCI
\tselect CORE
config VIRTUAL
\ttristate "virtual"
\tselect CORE
config COMPILE_TEST
\tbool "compile test"
config ARCH_TOY
\tbool
menu "deep"
\tdepends on NET
if BLOCK
config DEEP
\ttristate "deep"
endif
endmenu
"""


def requests(
    tmp_path: Path, text: str, *wanted: str, modules: Collection[str] = (), **known: str
) -> dict[str, str]:
    """What is requested beyond ``known``, by symbol."""
    (tmp_path / "Kconfig").write_text(GENERAL + text)
    found, values = solve(index_tree(tmp_path), wanted, known, modules=modules)
    assert all(values[need.symbol] == need.value for need in found.values())
    return {need.symbol: need.value for need in found.values()}


def refused(tmp_path: Path, text: str, *wanted: str, **known: str) -> Unreachable:
    with pytest.raises(Unreachable) as caught:
        requests(tmp_path, text, *wanted, **known)
    return caught.value


def module(*lines: str, name: str = "TOY") -> str:
    return f'config {name}\n\ttristate "toy"\n' + "".join(f"\t{line}\n" for line in lines)


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("depends on BLOCK && NET", {"BLOCK": "y", "NET": "y"}),
        ("depends on BUS", {"PCI": "y", "BUS": "y"}),
        ("depends on BUS || BLOCK", {"BLOCK": "y"}),
        ("depends on (BUS || BLOCK) && PCI", {"BLOCK": "y", "PCI": "y"}),
        ("depends on COMPILE_TEST || BUS", {"PCI": "y", "BUS": "y"}),
        ("depends on ARCH_TOY || COMPILE_TEST", {"COMPILE_TEST": "y"}),
        ("depends on !BLOCK", {}),
        ("depends on BLOCK || !BLOCK", {}),
        ("depends on BLOCK=y", {"BLOCK": "y"}),
        ("depends on BLOCK != n", {"BLOCK": "y"}),
        ("depends on BLOCK = n", {}),
        ("depends on CARD=m", {"PCI": "y", "CARD": "m"}),
        ("depends on LIB || NET", {"NET": "y"}),
        ("depends on CORE", {"VIRTUAL": "y"}),
        ("depends on DEEP", {"NET": "y", "BLOCK": "y", "DEEP": "y"}),
        ("depends on m", {}),
        ("depends on $(cc-option,-mtoy)", {}),
        ("select CARD", {"PCI": "y", "CARD": "y"}),
        ("select CORE", {}),
        ("select PCI", {}),
        ("select CARD if NET", {}),
    ],
)
def test_what_a_module_depends_on_is_requested(tmp_path: Path, line: str, found: dict[str, str]) -> None:
    assert requests(tmp_path, module(line), "TOY") == {**found, "TOY": "m"}


def test_what_is_there_is_not_requested_again(tmp_path: Path) -> None:
    assert requests(tmp_path, module("depends on BUS"), "TOY", PCI="y") == {"BUS": "y", "TOY": "m"}


def test_each_request_says_what_needs_it(tmp_path: Path) -> None:
    (tmp_path / "Kconfig").write_text("config NET\n\tbool 'net'\n" + module("depends on NET"))
    found, _ = solve(index_tree(tmp_path), ["TOY"], {})
    assert found["NET"].why == "TOY depends on NET (Kconfig:3)"


def test_an_alternative_that_the_rest_rules_out_is_not_taken(tmp_path: Path) -> None:
    text = module("depends on BUSLESS || PCI", "depends on !BUSLESS")
    assert requests(tmp_path, text, "TOY") == {"PCI": "y", "TOY": "m"}


def test_what_is_off_may_be_switched_on_and_not_the_other_way_round(tmp_path: Path) -> None:
    assert requests(tmp_path, module("depends on NET"), "TOY", NET="n") == {"NET": "y", "TOY": "m"}
    assert "!NET does not hold" in refused(tmp_path, module("depends on !NET"), "TOY", NET="y").reason


def test_modules_of_the_folder_are_modules_when_they_are_needed(tmp_path: Path) -> None:
    text = module(name="PART") + module("depends on PART")
    assert requests(tmp_path, text, "TOY", modules=["PART"]) == {"PART": "m", "TOY": "m"}
    assert requests(tmp_path, text, "TOY") == {"PART": "y", "TOY": "m"}
    assert requests(tmp_path, text, "PART", "TOY") == {"PART": "m", "TOY": "m"}


def test_a_prompt_that_is_visible_for_a_module_offers_no_y(tmp_path: Path) -> None:
    text = "config POOL\n\ttristate\n\tprompt 'pool' if SWAP || TOY\nconfig SWAP\n\tbool 'swap'\n"
    assert requests(tmp_path, text + module("select POOL"), "TOY") == {"TOY": "m"}
    assert requests(tmp_path, text + module("select POOL"), "TOY", SWAP="y") == {"POOL": "y", "TOY": "m"}


def test_what_needs_a_module_is_a_module(tmp_path: Path) -> None:
    text = module(name="PART") + module("depends on PART", name="HELPER") + module("depends on HELPER")
    found = requests(tmp_path, text, "TOY", modules=["PART"])
    assert found == {"PART": "m", "HELPER": "m", "TOY": "m"}


def test_a_bool_that_selects_a_module_would_build_it_in(tmp_path: Path) -> None:
    text = 'config A_BOOL\n\tbool "a"\n\tselect TOY_LIB\nconfig TOY_LIB\n\ttristate\n'
    assert "as needed" in refused(tmp_path, text, "TOY_LIB").reason
    text += 'config A_USER\n\ttristate "b"\n\tselect TOY_LIB\n'
    assert requests(tmp_path, text, "TOY_LIB") == {"A_USER": "m"}


def test_a_module_without_a_prompt_comes_with_one_that_selects_it(tmp_path: Path) -> None:
    assert requests(tmp_path, "", "CORE") == {"VIRTUAL": "m"}


def test_what_cannot_be_had_is_named_with_the_chain(tmp_path: Path) -> None:
    text = 'config OUTER\n\tbool "outer"\n\tdepends on SPARC\n' + module("depends on OUTER")
    error = refused(tmp_path, text, "TOY")
    assert error.missing == "SPARC" and error.reason == "the tree has no symbol SPARC"
    first, second = map(str, error.chain)
    assert first.startswith("TOY depends on OUTER (Kconfig:")
    assert second.startswith("OUTER depends on SPARC (Kconfig:")


def test_a_cycle_is_named(tmp_path: Path) -> None:
    text = 'config HEN\n\tbool "hen"\n\tdepends on EGG\nconfig EGG\n\tbool "egg"\n\tdepends on HEN\n'
    error = refused(tmp_path, text + module("depends on HEN"), "TOY")
    assert "cycle" in error.reason and "HEN" in error.reason


def test_what_nothing_can_switch_on_is_named(tmp_path: Path) -> None:
    assert "ARCH_TOY has no prompt" in refused(tmp_path, module("depends on ARCH_TOY"), "TOY").reason


def test_contradictions_end(tmp_path: Path) -> None:
    assert refused(tmp_path, module("depends on NET", "depends on !NET"), "TOY").chain


def test_what_is_built_in_by_something_else_is_no_module(tmp_path: Path) -> None:
    text = module() + "config ALWAYS\n\tdef_bool y\n\tselect TOY\n"
    error = refused(tmp_path, text, "TOY")
    assert "built into every kernel" in error.reason
    assert "ALWAYS selects TOY" in str(error.chain[0])


def test_many_alternatives_come_to_an_end(tmp_path: Path) -> None:
    layers = [
        f'config L{n}_{i}\n\tbool "l"\n\tdepends on {" || ".join(f"L{n + 1}_{k}" for k in range(4))}\n'
        for n in range(12)
        for i in range(4)
    ]
    text = "".join(layers) + module("depends on L0_0 || L0_1 || L0_2")
    assert refused(tmp_path, text, "TOY").reason
