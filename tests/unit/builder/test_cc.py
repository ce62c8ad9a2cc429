"""The compiler's wrapper: what it remembers, and what it hands on (``images/builder/cc.c``)."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.support.wrapper import wrapper

QUESTION = ("-Werror", "-fsome-option", "-c", "-x", "c", "/dev/null")


class Compiler:
    """A compiler that notes how it was called, and knows every option but one."""

    def __init__(self, top: Path) -> None:
        self.top, self.log, self.probes = top, top / "log", top / "probes"
        (top / "bin").mkdir()
        for name in ("gcc", "launch"):
            program = top / "bin" / name
            program.write_text(
                f'#!/bin/sh\nprintf "%s" "{name}" >> {self.log}\nprintf " [%s]" "$@" >> {self.log}\n'
                f'echo >> {self.log}\necho said\ncase "$*" in *-fno-such*) exit 4 ;; esac\n'
            )
            program.chmod(0o755)

    @property
    def env(self) -> dict[str, str]:
        return {"PATH": f"{self.top / 'bin'}:/usr/bin:/bin", "PROBES": str(self.probes)}

    def run(self, words: Sequence[str], **env: str) -> tuple[int, str]:
        done = subprocess.run(
            [wrapper(), *words], env={**self.env, **env}, check=False, capture_output=True, text=True,
            cwd=self.top,
        )  # fmt: skip
        return done.returncode, done.stdout

    @property
    def calls(self) -> list[str]:
        return self.log.read_text().splitlines() if self.log.exists() else []


@pytest.fixture
def compiler(tmp_path: Path) -> Compiler:
    return Compiler(tmp_path)


def test_a_question_is_asked_once_whatever_its_output_is_called(compiler: Compiler) -> None:
    for output in ("a.o", "b.o", "/tmp/c"):
        assert compiler.run([*QUESTION, "-o", output]) == (0, "")
    assert compiler.calls == [f"gcc {' '.join(f'[{word}]' for word in (*QUESTION, '-o', 'a.o'))}"]
    assert compiler.probes.read_text() == f"0 {' '.join(QUESTION)} -o\n"


def test_an_option_that_is_not_known_is_remembered_too(compiler: Compiler) -> None:
    no = ["-fno-such", *QUESTION]
    assert [compiler.run(no)[0] for _ in range(3)] == [1, 1, 1]
    assert compiler.run(QUESTION)[0] == 0
    assert len(compiler.calls) == 2


@pytest.mark.parametrize(
    "line",
    ["0 {}more\n", "0 -more {}\n", "0\n", "2 {}\n", "x {}\n", "\n", "", "1 {}"],
)
def test_what_is_another_question_or_half_a_line_is_no_answer(compiler: Compiler, line: str) -> None:
    compiler.probes.write_text("1 -other\n" + line.format(" ".join(QUESTION)))
    assert compiler.run(QUESTION)[0] == 0
    assert len(compiler.calls) == 1


def test_a_question_of_several_lines_or_without_a_place_for_answers_is_gcc_s(compiler: Compiler) -> None:
    assert compiler.run(["-DA=\n", *QUESTION]) == (0, "said\n")
    assert compiler.run(QUESTION, PROBES="", LAUNCHER="launch") == (0, "said\n")
    assert not compiler.probes.exists()
    assert [call.partition(" ")[0] for call in compiler.calls[:1]] == ["gcc"]


COMPILATION = ("-O2", "-DMODULE", "-c", "-o", "a b.o", "a b.c")
LAUNCHES = {
    "none": (COMPILATION, {}, "gcc"),
    "one": (COMPILATION, {"LAUNCHER": "launch"}, "launch [gcc]"),
    "no compilation": (("-E", "a.c"), {"LAUNCHER": "launch"}, "gcc"),
    "only for some": (COMPILATION, {"LAUNCHER": "launch", "LAUNCHED": "-DMODULE"}, "launch [gcc]"),
    "only for others": (COMPILATION, {"LAUNCHER": "launch", "LAUNCHED": "-DMODUL"}, "gcc"),
    "the version": (("--version",), {"LAUNCHER": "launch"}, "gcc"),
}


@pytest.mark.parametrize(("words", "env", "called"), LAUNCHES.values(), ids=LAUNCHES.keys())
def test_all_else_is_gcc_s_through_the_launcher_if_it_is_for_that(
    compiler: Compiler, words: tuple[str, ...], env: dict[str, str], called: str
) -> None:
    assert compiler.run(words, **env) == (0, "said\n")
    assert compiler.calls == [f"{called} {' '.join(f'[{word}]' for word in words)}"]
    assert compiler.run(["-fno-such", *words], **env)[0] == 4


def test_many_that_ask_at_once_leave_whole_answers(compiler: Compiler) -> None:
    asked = [[f"-f{number}{'x' * 2000}", *QUESTION] for number in range(24)]
    started = [subprocess.Popen([wrapper(), *words], env=compiler.env) for words in asked]
    assert [one.wait() for one in started] == [0] * 24
    lines = compiler.probes.read_text().splitlines()
    assert sorted(lines) == sorted(f"0 {' '.join(words)}" for words in asked)


def test_without_gcc_it_says_so(compiler: Compiler) -> None:
    shutil.rmtree(compiler.top / "bin")
    done = subprocess.run(
        [wrapper(), "-c", "a.c"], env={"PATH": "/nowhere"}, check=False, capture_output=True, text=True
    )
    assert done.returncode == 125 and "gcc" in done.stderr
