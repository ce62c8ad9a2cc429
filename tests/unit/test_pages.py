"""How a page of docs/ is run: files, commands, what is compared, and what is found."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support import pages

PAGE = """\
# A page

```text title="hello.txt"
hello there
```

```sh
cat hello.txt; echo progress >&2
```

```text
hello …
```

<!-- not run: it would end all -->
```sh
exit 1
```

```sh
cd / && false; echo "exit status $?"
```

```text
exit status 1
```
"""


def run(tmp_path: Path, page: str) -> list[pages.Shown]:
    path = tmp_path / "page.md"
    path.write_text(page)
    (tmp_path / "work").mkdir()
    return pages.run(path, tmp_path / "work", {"PATH": "/usr/bin:/bin"}, 20)


def test_a_page_that_is_right(tmp_path: Path) -> None:
    shown = run(tmp_path, PAGE)
    assert [one.text for one in shown] == ["hello there", "exit status 1"]
    assert pages.problems(shown) == []


def test_output_that_changed_is_found_and_can_be_written(tmp_path: Path) -> None:
    shown = run(tmp_path, PAGE.replace("hello …", "good bye"))
    (problem,) = pages.problems(shown)
    assert "line 8" in problem and "good bye" in problem and "hello there" in problem
    assert "hello there\n```\n\n<!--" in pages.rewritten(PAGE.replace("hello …", "good bye"), shown)


def test_a_command_that_fails_is_found_though_no_output_is_shown(tmp_path: Path) -> None:
    shown = run(tmp_path, "```sh\necho why >&2; false\n```\n")
    assert "exit status 1" in pages.problems(shown)[0] and "why" in pages.problems(shown)[0]


def test_a_page_that_ends_early_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="ended early"):
        run(tmp_path, "```sh\nexit 0\n```\n")


@pytest.mark.parametrize(
    ("expected", "text"),
    [
        ("took 1.5 s", "took 22 s"),
        ("results: out/20261129-181122-41bd/report.html", "results: out/20270101-000000-0000/report.html"),
        ("debian-12 (6.1.192)  yes", "debian-12 (6.1.200) yes"),
        ("commit 4017b7c15d8f (x)", "commit 0123456789ab (x)"),
        ("a\n…\nd", "a\nb\nc\nd"),
        ("…\nd", "d"),
        ("a …", "a b c"),
        ("│ a │ 9  │", "│ a │ 10 │"),
    ],
)
def test_what_is_the_same(expected: str, text: str) -> None:
    assert pages.difference(expected, text) == ""


@pytest.mark.parametrize(
    ("expected", "text"),
    [
        ("1 passed", "2 passed"),
        ("a\nb", "a\nx\nb"),
        ("a", "a\nb"),
        ("a\n…\nd", "a\nb"),
        ("✓ exit-0", "✗ exit-1"),
        ("debian-12 (6.1.192)", "debian-13 (6.1.192)"),
    ],
)
def test_what_differs(expected: str, text: str) -> None:
    assert pages.difference(expected, text)
