"""The documents as a site, in a real browser: what new users search for is found, and pages fit a phone."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib import util

import pytest

from tests.integration.conftest import require
from tests.support import REPO
from tests.support.browser import Page, browser

pytestmark = [pytest.mark.integration, pytest.mark.thorough]
_BOX = "document.querySelector('[data-md-component=search-query]')"
_HITS = "[...document.querySelectorAll('.md-search-result__link')].map(a => a.pathname)"


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    require(util.find_spec("material") is not None, "no mkdocs-material: pip install -e '.[docs]'")
    site = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(site)]
    subprocess.run(command, cwd=REPO, check=True, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"})
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(site)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    require(shutil.which("chromium") is not None, "no chromium: invoke setup --tests")
    with browser() as opened:
        opened.size(1280, 900)
        yield opened


def hits(page: Page, address: str, question: str) -> list[str]:
    """Return the pages that a search finds, best first."""
    page.open(f"{address}/index.html")
    deadline = time.monotonic() + 30
    # The box is there before the script that answers: the question is typed until it is.
    while time.monotonic() < deadline:
        page.run(f"{_BOX}.blur()")
        page.run(f"{_BOX}.focus()")
        page.run(f"{_BOX}.select()")
        page.type(question)
        time.sleep(1)
        if found := page.run(_HITS):
            return list(found)
    return []


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("my reproducer needs bash", {"/tutorials/write-a-case.html", "/cases.html"}),
        ("test my branch on Debian 12 and 13", {"/kernels.html"}),
        ("which patch broke it", {"/bisecting.html", "/tutorials/find-the-bug.html"}),
        ("module out of tree dkms", {"/modules.html"}),
        ("exit codes", {"/reference/exit-codes.html"}),
    ],
)
def test_a_question_is_answered_by_the_first_page_that_is_found(
    page: Page, address: str, question: str, answer: set[str]
) -> None:
    found = hits(page, address, question)
    assert found and found[0] in answer, found[:5]


@pytest.mark.parametrize(
    "name", ["index", "tutorials/first-series", "verdicts", "reference/commands", "comparison"]
)
@pytest.mark.parametrize("width", [390, 1280])
def test_a_page_is_no_wider_than_its_window(page: Page, address: str, name: str, width: int) -> None:
    page.size(width, 844)
    page.open(f"{address}/{name}.html")
    assert page.run("document.documentElement.scrollWidth") <= width
    outside = [one for one in page.requests if not one.startswith((address, "data:", "about:"))]
    assert not outside, outside
    page.size(1280, 900)
