"""Values of symbols that a configuration does not mention."""

from __future__ import annotations

from pathlib import Path

import pytest

from kmodpipe.kconfig.parser import index_tree
from kmodpipe.kconfig.values import Values

KCONFIG = """\
config X86
\tdef_bool y
\tselect HAVE_IT
\tselect LIB if NET

config HAVE_IT
\tbool

config LIB
\ttristate

config EXPERT
\tbool "expert"

config HIDDEN
\tbool "only for experts" if EXPERT
\tdefault y
\tdepends on NET

config NET
\tbool "net"
\tdefault y

config DERIVED
\tdef_bool NET
\tdepends on X86

config DRIVER
\ttristate "driver"
\tselect LIB

config NUMBER
\tint "number"
\tdefault 3

config PROBED
\tdef_bool $(cc-option,-mtoy)

config LOOP_A
\tdef_bool LOOP_B

config LOOP_B
\tdef_bool LOOP_A
"""


@pytest.fixture
def values(tmp_path: Path) -> Values:
    (tmp_path / "Kconfig").write_text(KCONFIG)
    found = Values(index_tree(tmp_path))
    found.settle({})
    return found


def test_what_has_a_prompt_is_off_and_what_has_none_takes_its_default(values: Values) -> None:
    on = {name for name in values if values.level(name)}
    assert on == {"X86", "HAVE_IT", "PROBED"}
    assert values.level("NOWHERE") == 0


def test_a_request_brings_what_follows_from_it(values: Values) -> None:
    values.request("NET", "y")
    assert {name for name in values if values.level(name)} >= {"NET", "HIDDEN", "DERIVED"}
    values.request("DRIVER", "m")
    assert (values["DRIVER"], values["LIB"]) == ("m", "m")
    values.request("DRIVER", "y")
    assert values["LIB"] == "y"


def test_requests_that_are_settled_together_select_what_each_of_them_allows(values: Values) -> None:
    values.settle({"NET": "y"})
    assert values["LIB"] == "y"


def test_a_prompt_counts_where_its_condition_holds(values: Values) -> None:
    values.settle({"NET": "y", "EXPERT": "y"})
    assert values["HIDDEN"] == "n"


def test_numbers_are_unknown_until_they_are_requested(values: Values) -> None:
    assert values.level("NUMBER") is None and "NUMBER" not in values
    values.request("NUMBER", "7")
    assert values["NUMBER"] == "7"


def test_a_copy_changes_on_its_own(values: Values) -> None:
    other = values.copy()
    other.request("NET", "y")
    assert (values.level("NET"), other.level("NET")) == (0, 2)
    other.restore(values)
    assert other.level("DERIVED") == 0
