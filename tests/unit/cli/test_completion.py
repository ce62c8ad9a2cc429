"""What Tab offers: names of the project, quickly, and nothing where anything is wrong."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kmodpipe import kconfig
from kmodpipe.ci.formats import FORMATS as PLAN_FORMS
from kmodpipe.cli import completion
from kmodpipe.cli.project_root import find_root
from kmodpipe.cli.report import FORMATS as REPORT_FORMS
from kmodpipe.cli.resolve import RUNTIMES
from kmodpipe.kconfig import Variant
from kmodpipe.kconfig.matrix import CONTROL_VARIANT
from kmodpipe.report.compare import FAIL_ON
from tests.support import REPO


def offered(*words: str, folder: Path = REPO) -> list[str]:
    return [word for word, _ in completion.candidates(words, folder)]


def test_words_are_those_of_their_place() -> None:
    assert offered("te") == ["test"]
    assert "--version" in offered("--")
    assert offered("--print-completion-script", "") == ["bash", "zsh", "fish"]
    assert offered("config", "ch") == ["check"] and "--json" in offered("config", "check", "--j")
    assert offered("test", "--ru") == ["--runtime"]
    assert offered("test", "--runtime", "") == ["docker", "host"]
    assert offered("report", "--format", "ma") == ["markdown", "mail"]
    assert offered("test", "--tree", "debian-5") == ["debian-5.10"]
    assert offered("test", "-s", "uuid") == ["uuid-off"]
    assert "remount-default" in " ".join(offered("test", "--case", "remount-"))
    assert offered("test", "--flavour", "ka") == ["kasan"]
    assert offered("test", "--cell=unpatched.INDEX=y.NOUUID=y.x") == ["--cell=unpatched.INDEX=y.NOUUID=y.xfs"]


def test_modules_are_those_that_the_matrix_and_the_series_name() -> None:
    assert offered("test", "--module", "fs/") == ["fs/overlayfs"]
    example = str(REPO / "examples/dm-snapshot/matrix.toml")
    assert "drivers/md/dm-snapshot.ko" in offered("test", "--matrix", example, "--module", "dr")


def test_an_option_that_was_given_is_not_offered_again_unless_it_may_be_repeated() -> None:
    found = offered("test", "--jobs", "3", "--cell", "x", "-")
    assert "--jobs" not in found and "--cell" in found


def test_files_are_left_to_the_shell() -> None:
    assert offered("test", "--junit", "") == []
    assert offered("test", "--case", "./mine") == []


def test_cells_are_those_that_a_run_would_have() -> None:
    matrix = kconfig.load_matrix(REPO / "kconfigs/matrix.toml")
    variants = [CONTROL_VARIANT, Variant("uuid-off", "", {})]
    flavours = kconfig.flavours_of(matrix, ["all"])
    known = {cell.id for cell in kconfig.expand(matrix, variants, flavours)}
    assert set(offered("test", "-s", "uuid-off", "--cell", "")) == known
    plain = set(offered("test", "-s", "uuid-off", "--flavour", "plain", "--cell", ""))
    assert plain == {cell.id for cell in kconfig.expand(matrix, variants)}


def test_cells_of_several_kernels_have_their_names() -> None:
    given = ("test", "-t", "debian-5.10", "--tree", "mine=../linux", "-t", "../src/linux.git#v6.1", "-s", "x")
    found = {word.split(".INDEX")[0] for word in offered(*given, "--cell", "x.")}
    assert found == {"x.debian-5.10", "x.mine", "x.linux-v6.1"}


def test_lists_are_the_real_ones() -> None:
    assert set(completion.RUNTIMES) == set(RUNTIMES)
    assert set(completion.PLAN_FORMS) == set(PLAN_FORMS)
    assert set(completion.REPORT_FORMS) == set(REPORT_FORMS)
    assert set(completion.CHANGES) == set(FAIL_ON)


def test_runs_are_offered_the_newest_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("20260101-000000-aaaa", "20260102-000000-bbbb"):
        (tmp_path / "out" / name).mkdir(parents=True)
        (tmp_path / "out" / name / "results.json").touch()
    monkeypatch.chdir(tmp_path)
    first = "20260102-000000-bbbb"
    assert offered("report", "--run", "", folder=tmp_path)[0] == f"out/{first}"
    assert offered("report", "--against", "", folder=tmp_path)[0] == first


@pytest.mark.parametrize(
    "text", ["", "tool = 3\n", "[tool.kmodpipe]\ntrees = 3\n", "\xff[", "[tool.kmodpipe]\nmatrix = 3\n"]
)
def test_wrong_files_give_nothing_and_no_message(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "pyproject.toml").write_text(text, encoding="latin-1")
    monkeypatch.chdir(tmp_path)
    for option in ("--tree", "--cell", "--case", "--series", "--flavour", "--share"):
        completion.answer(["zsh", "test", option, "zz"])
    completion.answer([])
    completion.answer(["bash"])
    completion.answer(["bash", " =", "kmodpipe test --cell 'unfinished"])
    assert capfd.readouterr() == ("", "")


def bash(line: str) -> list[str]:
    """What a real bash makes of a line: its function is called as bash calls it at Tab."""
    script = completion.script("bash", "kmodpipe")
    called = (
        f"{script}\nCOMP_WORDBREAKS=$' \\t\\n\"\\'@><=;|&(:'\n"
        f"COMP_LINE={line!r}; COMP_POINT=${{#COMP_LINE}}\n"
        f'_kmodpipe "$PROGRAM" 2>&1; printf "%s\\n" "${{COMPREPLY[@]}}"\n'
    )
    program = Path(sys.executable).with_name("kmodpipe")
    done = subprocess.run(
        ["bash", "--norc", "-c", called],
        env={**os.environ, "PROGRAM": str(program)},
        cwd=REPO, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    return done.stdout.split("\n")[:-1]


@pytest.mark.skipif(
    not Path(sys.executable).with_name("kmodpipe").exists(), reason="kmodpipe is not installed beside Python"
)
def test_bash_gets_what_follows_the_last_character_that_breaks_words() -> None:
    assert bash("kmodpipe tes") == ["test"]
    assert bash("kmodpipe test --cell unpatched.INDEX=y.NOUUID=n.xf") == ["n.xfs"]
    assert bash("kmodpipe test --cell=unpatched.INDEX=y.NOUUID=n.xf") == ["n.xfs"]
    assert bash("kmodpipe test --cell 'unpatched.INDEX=y.NOUUID=n.xf") == ["n.xfs"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_script_is_read_by_its_shell(shell: str) -> None:
    if not (program := shutil.which(shell)):
        pytest.skip(f"{shell} is not installed")
    script = completion.script(shell, "kmodpipe")
    assert "PROGRAM" not in script
    flags = ["-n"] if shell != "fish" else ["--no-execute"]
    done = subprocess.run(
        [program, *flags], input=script, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_nothing_heavy_is_imported() -> None:
    code = """\
import sys
from kmodpipe.cli import entry
sys.argv = ["kmodpipe", "--complete", "zsh", "test", "--cell", ""]
entry.main()
print(sorted(n for n in sys.modules if n in ("pydantic", "rich", "invoke", "docker")))
"""
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPO, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"
    # A shell waits for it; on an idle machine it takes a tenth of this.
    assert time.monotonic() - began < 5


def test_the_project_is_the_nearest_folder_above(tmp_path: Path) -> None:
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "pyproject.toml").write_text("[tool.kmodpipe]\n")
    (tmp_path / "a/pyproject.toml").write_text("[project]\n")
    assert find_root(tmp_path / "a/b") == tmp_path
    assert find_root(Path("/nowhere")) == Path("/nowhere")
