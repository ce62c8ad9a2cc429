"""Small mistakes: where they are made, what they become, and that nothing else of the file changes."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from kmodpipe.analysis.ablate.operators import OPERATORS, mutations

SOURCE = """\
#define LIMIT 3
enum mode { MODE_OFF, MODE_ON = 1 };
struct fs { int mode; int count; };
int check(struct fs *fs);
void put(struct fs *fs);
void pr_warn(const char *text, ...);
static int mode_def = MODE_ON ? MODE_ON : MODE_OFF;
module_param_named(mode, mode_def, int, 0644);

static int fill(struct fs *fs, int limit)
{
\tint err;

\terr = check(fs);
\tif (err)
\t\tgoto out;
\tif (fs->mode == MODE_ON && !fs->count) {
\t\tpr_warn("no count, "
\t\t\t"falling back\\n");
\t\tfs->mode = MODE_OFF;
\t}
\tif (fs->count > limit)
\t\treturn -EINVAL;
\tswitch (fs->mode) {
\tcase MODE_ON:
\t\tfs->count = 0x10UL;
\t\tbreak;
\t}
\twhile (fs->count)
\t\tfs->count--;
\tput(fs);
\treturn fs->mode ? 1 : 0;
out:
\treturn err;
}
"""
LINES = range(1, SOURCE.count("\n") + 1)


def made(operator: str, source: str = SOURCE) -> list[tuple[int, str, str]]:
    found = mutations("fs/a.c", source.encode(), LINES)
    return [(one.line, one.was, one.becomes) for one in found if one.operator == operator]


def test_conditions_are_negated_part_by_part() -> None:
    assert made("condition") == [
        (7, "MODE_ON", "!(MODE_ON)"),
        (15, "err", "!(err)"),
        (17, "fs->mode == MODE_ON", "!(fs->mode == MODE_ON)"),
        (17, "!fs->count", "fs->count"),
        (22, "fs->count > limit", "!(fs->count > limit)"),
        (29, "fs->count", "!(fs->count)"),
        (32, "fs->mode", "!(fs->mode)"),
    ]


def test_error_paths_are_dropped_with_what_they_check_still_called() -> None:
    assert made("error") == [
        (15, "err", "(err) && 0"),
        (22, "fs->count > limit", "(fs->count > limit) && 0"),
        (23, "-EINVAL", "0"),
    ]


def test_a_jump_out_of_a_block_is_dropped_and_one_that_is_all_of_a_branch_is_not() -> None:
    source = """\
int f(int a)
{
\tif (a < 0) {
\t\ta = 0;
\t\tgoto out;
\t} else {
\t\ta++;
\t\tgoto out;
\t}
\tif (a)
\t\tgoto out;
\ta = 2;
\tgoto out;
out:
\treturn a;
}
"""
    assert [(line, was, new) for line, was, new in made("error", source) if was.startswith("goto")] == [
        (5, "goto out;", ";"),
        (8, "goto out;", ";"),
    ]
    found = [one for one in mutations("fs/a.c", source.encode(), [5]) if one.operator == "error"]
    assert [one.observe for one in found] == ["in f(), take this path, and see that it ends in `goto out;`"]


def test_constants_are_one_more_where_they_are_values() -> None:
    found = made("constant")
    # Neither what declares them, nor a label, nor the argument of a macro outside of functions.
    assert [(line, was) for line, was, _ in found] == [
        (2, "1"), (7, "MODE_ON"), (7, "MODE_ON"), (7, "MODE_OFF"), (17, "MODE_ON"), (20, "MODE_OFF"),
        (22, ">"), (23, "EINVAL"), (26, "0x10UL"), (32, "1"), (32, "0"),
    ]  # fmt: skip
    assert (22, ">", ">=") in found and (23, "EINVAL", "(EINVAL + 1)") in found


def test_calls_are_removed() -> None:
    assert [(line, becomes) for line, _, becomes in made("call")] == [(14, "0"), (18, ";"), (31, ";")]


def test_only_the_wanted_lines_are_changed_and_their_number_stays() -> None:
    content = SOURCE.encode()
    (one,) = mutations("fs/a.c", content, [18])
    after = one.applied(content)
    assert after.count(b"\n") == content.count(b"\n") and b"falling back" not in after
    assert after.splitlines()[:17] == content.splitlines()[:17]
    assert after.splitlines()[19:] == content.splitlines()[19:]
    assert (one.function, one.line) == ("fill", 18)
    assert 'expect the message "no count, " "falling back\\n"' in one.observe or "no count, " in one.observe


def test_what_cannot_be_read_is_left_alone() -> None:
    broken = "int f(void)\n{\n\tif (a ==) return -EINVAL;\n\treturn 0;\n}\n"
    assert [one.was for one in mutations("a.c", broken.encode(), [3])] == ["-EINVAL", "EINVAL"]


def test_a_name_that_is_asked_for_is_no_value() -> None:
    source = "static int f(void)\n{\n\treturn IS_ENABLED(CONFIG_FOO) ? sizeof(LONG_NAME) : READ_MODE;\n}\n"
    assert [one.was for one in mutations("a.c", source.encode(), [3]) if one.operator == "constant"] == [
        "READ_MODE"
    ]


@pytest.mark.skipif(shutil.which("gcc") is None, reason="there is no gcc here")
def test_every_mistake_of_the_sample_compiles(tmp_path: Path) -> None:
    """They are mistakes of meaning: the compiler takes them (but for the macro that no header declares)."""
    source = SOURCE.replace("module_param_named(mode, mode_def, int, 0644);", "enum { EINVAL = 22 };")
    found = mutations("a.c", source.encode(), LINES)
    assert {one.operator for one in found} == set(OPERATORS)
    for one in found:
        (tmp_path / "a.c").write_bytes(one.applied(source.encode()))
        done = subprocess.run(
            ["gcc", "-fsyntax-only", "-Wno-unused", str(tmp_path / "a.c")], capture_output=True, text=True
        )
        assert done.returncode == 0, f"{one}: {done.stderr}"
