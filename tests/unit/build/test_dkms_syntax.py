"""A dkms.conf is read as bash reads it; bash itself is asked where it is on the machine."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from kmodpipe.build.dkms_syntax import Value, assignments, expanded
from kmodpipe.util.errors import UserError


def values(text: str) -> dict[tuple[str, int], str]:
    found = assignments(text, "dkms.conf", {"kernelver": "{release}"}, {"nproc": "1"})
    return {key: value.text for key, value in found.items()}


TEXTS = (
    "A=b",
    "A=",
    "A='b c' B=\"d e\"; C=f",
    "A=b # comment = no\n# B=c\nB=d#e",
    'A="b \\"c\\" \\$d \\\\ \\n"',
    "A=b\\ c\\'d",
    "A='b'\"c\"d",
    'A="b\\\nc"\nB=d\\\ne',
    "A[0]=b\nA[2]='c'",
    "A=(b 'c d' \\\n  e # no\n f)",
    "A=(b c)\nA=(d)\nA+=(e f)",
    "A=b\nA+=c",
    "A[1]=b\nA[1]+=c",
    "A=b\nB=\"$A-${A}x${A[0]}\"\nC=$B'$A'",
    "export A=b\nreadonly B=c",
    "A=b\r\nB=c",
    'A="#VERSION#"\nB=@VERSION@',
    "A=b;B=c;",
    'A="$(nproc)-`nproc`"',
    "A='$kernelver'\nB=\"$kernelver\"",
    "A=~/b\nB=*.c",
    'A=$\nB="$"',
)


@pytest.mark.parametrize("text", TEXTS)
def test_it_is_what_bash_reads(text: str) -> None:
    if shutil.which("bash") is None:
        pytest.skip("no bash to compare with")
    script = (
        "kernelver='{release}'; HOME='~'; nproc() { echo 1; }; set -f\n"
        + text.replace("\r", "")
        + '\nfor name in A B C; do declare -n v=$name; for i in "${!v[@]}"; do printf "%s\\0%s\\0%s\\0" '
        '$name "$i" "${v[i]}"; done; done'
    )
    ran = subprocess.run(
        ["bash", "-c", script], env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True, check=True
    )
    fields = ran.stdout.split("\0")[:-1]
    told = {(fields[n], int(fields[n + 1])): fields[n + 2] for n in range(0, len(fields), 3)}
    assert values(text) == told


@pytest.mark.parametrize(
    ("text", "unknown"),
    [
        ("A=$(date)", "$(date)"),
        ('A="x`date +%s`y"', "`date +%s`"),
        ("A=${B:-c}", "${B:-c}"),
        ("A=$HOME", "$HOME"),
        ("A=$((1 + 1))", "$((1 + 1))"),
        ("B=$(date)\nA=$B", "$(date)"),
        ("A=b\nA+=$(date)", "$(date)"),
    ],
)
def test_what_only_a_shell_knows_is_kept_as_such(text: str, unknown: str) -> None:
    assert assignments(text, "dkms.conf", {}, {})["A", 0].unknown == unknown


@pytest.mark.parametrize(
    ("text", "said", "line"),
    [
        ("A=b\nif [ x ]; then\nA=c\n", "only a shell can run: if [ x ]; then", 2),
        ("A=b\n\ncase $x in y) A=c;; esac | cat", "only a shell can run: | cat", 3),
        ("f() { :; }", "only a shell can run", 1),
        (". ./other", "only a shell can run", 1),
        ("A=b make", "only a shell can run: make", 1),
        ("A='b", "a quote that is not closed", 1),
        ('\nA="b\n', "a quote that is not closed", 2),
        ("A=(b", "an array that is not closed", 1),
        ("A=$(b", "a bracket that is not closed", 1),
        ("A=`b", "a ` that is not closed", 1),
        ("A=b&", "'&' outside of quotes", 1),
        ("A=b | c", "only a shell can run: | c", 1),
    ],
)
def test_other_statements_are_refused_with_their_line(text: str, said: str, line: int) -> None:
    with pytest.raises(UserError) as caught:
        assignments(text, "dkms.conf", {}, {})
    assert said in caught.value.what
    assert caught.value.where == f"dkms.conf:{line}"


def test_what_a_condition_may_set_is_known_to_a_shell_alone() -> None:
    found = assignments(
        "A=b\nB=c\nC[1]=x\n# if this is no comment\nif [ -f x ]; then  # for y\n    . x\n    if z; then\n"
        "        A=c; C[1]=d\n    fi\nfi\nD=e\nfor i in 1 2; do E+=$i; done\ncase $D in e) F=1;; esac\nD=f\n",
        "dkms.conf", {}, {},
    )  # fmt: skip
    unknown = {name: value.unknown for (name, _), value in found.items() if value.unknown}
    assert unknown == {
        "A": "if … of line 5", "C": "if … of line 5", "E": "for … of line 12", "F": "case … of line 13",
    }  # fmt: skip
    assert (found["B", 0].text, found["D", 0].text) == ("c", "f")


def test_a_value_is_expanded_once_more_outside_of_single_quotes() -> None:
    value = Value("make A=$kernelver B='$kernelver' C=\\$x", 7)
    found = expanded(value, "dkms.conf", {"kernelver": "R"}, {})
    assert found == Value("make A=R B='$kernelver' C=\\$x", 7)
    assert expanded(Value("$(date)", 1), "d", {}, {}).unknown == "$(date)"


def test_a_huge_file_is_refused() -> None:
    with pytest.raises(UserError, match="more than 256 KiB"):
        assignments("A=b\n" * 100_000, "dkms.conf", {}, {})
