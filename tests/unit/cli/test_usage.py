"""The words of a command line: every form of an option, and the nearest word for a wrong one."""

from __future__ import annotations

import pytest

from kmodpipe.cli import usage
from kmodpipe.cli.options import CleanOptions, TestOptions
from kmodpipe.util.errors import ExitCode, UserError


@pytest.mark.parametrize(
    ("typed", "read"),
    [
        ("test", "test"),
        ("test -j 4", "test --jobs=4"),
        ("test -j4", "test --jobs=4"),
        ("test -j=4", "test --jobs=4"),
        ("test --jobs 4 -qv", "test --jobs=4 --quiet --verbose"),
        ("test -qj4", "test --quiet --jobs=4"),
        ("test --cell a=b=c -c x=y", "test --cell=a=b=c --case=x=y"),
        ("test --shuffle -5", "test --shuffle=-5"),
        ("fetch -t x patch -s y", "fetch --tree=x patch --series=y"),
        ("test -h", "test --help"),
        ("try drivers/block/zram -s x", "try --module=drivers/block/zram --series=x"),
        ("config check", "config"),
        ("config -q check --json", "config --quiet --json"),
        ("config test", "config test"),
        ("-h test", "--help test"),
        ("-V", "--version"),
        ("", ""),
    ],
)
def test_each_form_becomes_one(typed: str, read: str) -> None:
    assert usage.canonical(typed.split(), "kmodpipe") == read.split()


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (["tset"], "unknown command 'tset'; did you mean test"),
        (["test", "--jbos", "3"], "unknown option '--jbos'; did you mean --jobs"),
        (["test", "-x"], "unknown option '-x'"),
        (
            ["build", "--case", "x"],
            "build has no option --case; boot, test, ci, cover, ablate, matrix have it",
        ),
        (["doctor", "--each-patch"], "doctor has no option --each-patch"),
        (["test", "foo"], "test takes options only, and 'foo' is none"),
        (["config", "chekc"], "unknown word behind config 'chekc'; did you mean check?"),
        (["config", "check", "x"], "config takes options only, and 'x' is none"),
        (["--cell", "x", "test"], "--cell is an option of a command"),
        (["--vesrion"], "did you mean --version"),
        (["test", "--jobs"], "--jobs takes a number, and there is none"),
        (["test", "--out", "--jobs", "3"], "--out takes the name of a folder, and there is none"),
        (["test", "--cell", "--case=x"], "--cell takes a value, and there is none"),
        (["test", "--tree", ""], "--tree takes a value, and it is empty"),
        (["test", "--tree="], "--tree takes a value, and it is empty"),
        (["test", "--each-patch=yes"], "--each-patch takes no value"),
        (["--print-completion-script", "csh"], "unknown shell 'csh'"),
        (["--print-completion-script"], "unknown shell ''"),
        (["test", "--", "x"], "unknown option '--'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_wrong_word_is_named_with_the_right_one(typed: list[str], said: str) -> None:
    with pytest.raises(UserError) as raised:
        usage.canonical(typed, "kmodpipe")
    assert said in raised.value.what
    assert raised.value.hint


@pytest.mark.parametrize("text", ["x", "1.5", "1_0", "", "٣", "0x10", "9" * 5000])
def test_a_number_that_is_none_is_a_usage_error(text: str) -> None:
    with pytest.raises(UserError, match="--jobs takes a whole number") as raised:
        usage.values(TestOptions, {"jobs": text})
    assert raised.value.exit_code is ExitCode.USAGE and len(raised.value.what) < 120


def test_values_are_read_by_the_type_of_the_option() -> None:
    read = usage.values(TestOptions, {"jobs": "3", "attempts": 2, "cell": ["a", "b"], "quiet": True})
    assert read == TestOptions(jobs=3, attempts=2, cell=("a", "b"), quiet=True)
    assert usage.values(CleanOptions, {"keep": "-1"}) == CleanOptions(keep=-1)


def test_an_empty_name_is_refused_in_a_list_as_well() -> None:
    with pytest.raises(UserError, match="--cell takes a value, and it is empty"):
        usage.values(TestOptions, {"cell": ["a", ""]})
