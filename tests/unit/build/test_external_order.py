"""What make is run with for a module of its own source, and which orders cannot be built."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from kmodpipe.build.external_order import ExternalOrder, split_arguments
from kmodpipe.util.errors import InfraError, KernelFailure, UserError


@pytest.fixture
def order(tmp_path: Path) -> ExternalOrder:
    for name, text in {
        "module/Kbuild": "obj-m := hello.o\n",
        "module/src/Makefile": "obj-$(CONFIG_X) := a.o\nobj-$(CONFIG_Y) := b.o\n",
        "module/empty/README": "",
        "kit/.config": "CONFIG_Y=m\n",
    }.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return ExternalOrder("hello", tmp_path / "module", tmp_path / "kit")


def test_kbuild_is_run_as_it_documents_itself(order: ExternalOrder) -> None:
    order.check()
    assert order.make_arguments == ("-C", "{kit}", "M={obj}", "modules")
    with_variable = replace(order, variables={"CONFIG_X": "m", "W": "1"})
    assert with_variable.make_arguments[3:] == ("CONFIG_X=m", "W=1", "modules")


def test_the_modules_own_makefile_is_run_where_it_is(order: ExternalOrder) -> None:
    own = replace(order, folder="src", arguments=("all", "KDIR={kit}"), variables={"V": "1"})
    own.check()
    assert own.make_arguments == ("all", "KDIR={kit}", "V=1")


def test_what_cannot_be_built_is_refused_before_a_container_starts(order: ExternalOrder) -> None:
    for wrong, said in [
        (replace(order, folder="empty"), "no Kbuild and no Makefile"),
        (replace(order, folder="none"), "no folder 'none'"),
        (replace(order, folder="../kit"), "not below its source"),
        (replace(order, arguments=()), "has no Makefile"),
        (replace(order, variables={"A B": "1"}), "no variable like 'A B'"),
    ]:
        with pytest.raises((KernelFailure, UserError), match=said):
            wrong.check()
    replace(order, arguments=("-C", "src")).check()


def test_a_state_of_the_source_without_a_makefile_does_not_build(order: ExternalOrder) -> None:
    # The change under test may be the one that adds it.
    for state in (replace(order, folder="empty"), replace(order, folder="none")):
        with pytest.raises(KernelFailure):
            state.check()


def test_a_kit_without_a_configuration_is_ours_to_explain(order: ExternalOrder) -> None:
    with pytest.raises(InfraError, match="no configuration"):
        _ = replace(order, kit=order.module).config


def test_symbols_that_the_kernel_lacks_are_named(order: ExternalOrder) -> None:
    assert "CONFIG_X=n" in replace(order, folder="src").makes_nothing()
    assert "CONFIG_Y" not in replace(order, folder="src").makes_nothing()
    assert "obj-m" in order.makes_nothing()


def test_a_setting_is_split_into_words() -> None:
    assert split_arguments("make modules 'KDIR={kit}' V=1") == ("modules", "KDIR={kit}", "V=1")
    assert split_arguments("") == ()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("KDIR={kti}", "did you mean kit"),
        ("KDIR=$(uname -r)", "not run by a shell"),
        ("KDIR=${kit}", "not run by a shell"),
        ("a; b", "not run by a shell"),
        ("a && b", "not run by a shell"),
        ("'a", "cannot be read"),
    ],
)
def test_a_setting_that_needs_a_shell_or_has_a_typo_is_refused(text: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        split_arguments(text, "kmodpipe.toml")
