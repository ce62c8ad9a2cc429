"""The documents: each link leads somewhere, each command is one, each page begins with what a reader gets."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from importlib import util
from pathlib import Path

import pytest

from kmodpipe.cli import usage
from kmodpipe.util.errors import UserError
from tests.integration.conftest import require
from tests.support import REPO, pages
from tests.support.markdown import tokens

DOCS = REPO / "docs"
PAGES = sorted(
    [*REPO.glob("*.md"), *DOCS.rglob("*.md"), *(REPO / "examples").rglob("*.md")],
    key=lambda path: path.as_posix(),
)
NAMES = [path.relative_to(REPO).as_posix() for path in PAGES]
_COMMAND = re.compile(r"^\s*(?:\$ )?(?:[A-Z_]+=\S+ )*(?:\S+/)?(?:kmodpipe|invoke) (?=[a-z-])")
# Texts for those who change kmodpipe, and what a run printed.
_NO_EXAMPLE = {"docs/architecture.md", "docs/findings.md", "docs/findings-kernels.md"}


def code(text: str) -> Iterator[str]:
    """Yield the lines of a page's code, each with those that it goes on in."""
    for token in tokens(text):
        if token.type in ("code_block", "fence") and token.info != "text":
            yield from token.content.replace("\\\n", " ").splitlines()


def commands(text: str) -> Iterator[list[str]]:
    """Yield the words of each of our commands in a page's code, without the program."""
    for line in code(text):
        for part in re.split(r"\s*(?:&&|;|\|)\s*", re.sub(r"\s#.*", "", line)) if "'" not in line else [line]:
            # A screen of `watch` begins with such words as well, and one option is wrong on purpose.
            if _COMMAND.match(part) and not re.search(r"…| · |--jbos", part):
                words = shlex.split(re.sub(r"\s(?:2?>|\||;|&&).*", "", re.sub(r"\s#\s.*", "", part)))
                while words[0] == "$" or "=" in words[0]:
                    words.pop(0)
                yield words[1:]


@pytest.mark.parametrize("name", NAMES)
def test_each_command_that_a_page_shows_is_one(name: str) -> None:
    for words in commands((REPO / name).read_text("utf-8")):
        try:
            usage.canonical(words, "kmodpipe")
        except UserError as e:
            pytest.fail(f"{name}: kmodpipe {' '.join(words)}\n{e}")


def test_a_wrong_command_in_a_page_is_found() -> None:
    (words,) = commands("    $ X=y kmodpipe test --jobz 3    # many\n")
    with pytest.raises(UserError, match="--jobs"):
        usage.canonical(words, "kmodpipe")
    assert sum(len(list(commands(path.read_text("utf-8")))) for path in PAGES) > 150


@pytest.mark.parametrize("name", NAMES)
def test_each_link_leads_to_a_file_of_the_repository(name: str) -> None:
    """As plain Markdown, without the site."""
    for token in tokens((REPO / name).read_text("utf-8")):
        target = str(token.attrs.get("href") or token.attrs.get("src") or "").partition("#")[0]
        if target and "://" not in target and not target.startswith("mailto:"):
            assert ((REPO / name).parent / target).exists(), f"{name} links to {target}"


@pytest.mark.parametrize("name", [n for n in NAMES if n.startswith("docs/") and n not in _NO_EXAMPLE])
def test_no_page_opens_with_rules(name: str) -> None:
    """A generated page has its schema for an example; any other shows a command, or what it prints, soon."""
    text = (REPO / name).read_text("utf-8")
    if "do not edit" in text and not re.search(r"^ {4}", text, re.MULTILINE):
        return
    blocks = [t.map[0] for t in tokens(text) if t.type in ("code_block", "fence") and t.map]
    assert blocks and blocks[0] < 16, f"{name} has its first example in line {min(blocks, default=-1) + 1}"


def test_a_symptom_is_quoted_as_it_is_printed() -> None:
    """A message of ours in troubleshooting.md is in the code, up to what is put into it."""
    code = "".join(path.read_text("utf-8") for path in (REPO / "kmodpipe").rglob("*.py"))
    code = re.sub(r'"\s*f?"', "", code)
    rows = [
        line
        for line in (DOCS / "troubleshooting.md").read_text("utf-8").splitlines()
        if line.startswith("| ")
    ]
    quoted = [one for row in rows for one in re.findall(r"`([^`]+)`", row.split(" | ")[0]) if " " in one]
    assert len(quoted) > 10
    for one in quoted:
        longest = max(re.split(r"…|\d+|/bin/bash|CONFIG_X|  |, ", one), key=len).strip()
        assert longest in code or one in ("Operation not supported", "No such device"), one


# -- the site ---------------------------------------------------------------------------------------
def test_the_site_is_whole(tmp_path: Path) -> None:
    """With each page in the navigation, and each link and anchor there."""
    require(util.find_spec("material") is not None, "no mkdocs-material: pip install -e '.[docs]'")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", tmp_path / "site"],
        cwd=REPO, capture_output=True, text=True, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    html = {path.relative_to(tmp_path / "site").as_posix() for path in (tmp_path / "site").rglob("*.html")}
    assert {"index.html", "tutorials/first-series.html", "repository/CONTRIBUTING.html"} <= html
    for path in (tmp_path / "site").rglob("*.html"):
        loaded = re.findall(
            r"<(?:script|link|img)[^>]*(?:src|href)=\"?(https?://[^\"\s>]+)", path.read_text("utf-8")
        )
        assert not loaded, f"{path.name} loads {loaded}"


# -- README -----------------------------------------------------------------------------------------
def test_readme_sets_all_up_in_one_line() -> None:
    """The two lines that are pasted on an empty machine are part of the interface."""
    start = "git clone <this repository> kmodpipe && cd kmodpipe && python3 -m venv .venv"
    start += " && .venv/bin/pip install -q"
    lines = [line.strip() for line in code((REPO / "README.md").read_text("utf-8"))]
    assert f"{start} -e . && .venv/bin/invoke setup --yes && .venv/bin/invoke ci" in lines
    assert f"{start} -e '.[dev]' && .venv/bin/invoke setup --yes --tests && .venv/bin/pytest" in lines


def test_readme_is_read_in_a_minute_or_five() -> None:
    assert len((REPO / "README.md").read_text("utf-8").split()) < 1200


@pytest.mark.parametrize("name", ["README.md", "docs/README.md"])
def test_the_output_at_the_top_is_that_of_the_tutorial(name: str) -> None:
    """Which a test holds against the program."""
    shown = next(one for one in pages.blocks((REPO / name).read_text("utf-8")) if one.kind == "text")
    run = pages.steps((DOCS / "tutorials/first-module.md").read_text("utf-8"))
    printed = [
        line
        for one in run
        if isinstance(one, pages.Step) and one.output
        for line in one.output.text.splitlines()
    ]
    lines = [line for line in shown.text.splitlines() if not line.startswith("$")]
    assert len(lines) > 5 and set(pages.steady("\n".join(lines))) <= set(pages.steady("\n".join(printed)))


# -- how pages are run ------------------------------------------------------------------------------
def test_pages_that_are_run_have_output_for_what_they_run() -> None:
    run = [path for path in DOCS.rglob("*.md") if pages.is_run(path)]
    assert len(run) >= 16
    for path in run:
        for one in pages.steps(path.read_text("utf-8")):
            if isinstance(one, pages.Step) and one.output is not None:
                assert one.output.text.strip(), f"{path.name}:{one.output.first + 1} has no output yet"
            # No machine of ours is in a page.
        assert not re.search(r"/tmp/|/root/", path.read_text("utf-8")), path
