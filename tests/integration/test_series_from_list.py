"""Series from a list's archive, by the real b4 from a real HTTP server with threads in lore's form."""

from __future__ import annotations

import gzip
import io
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from kmodpipe import series, source
from kmodpipe.util.errors import InfraError, UserError
from kmodpipe.util.screen import Mode, Screen
from tests.support import sample_mails
from tests.support.sample_mails import Made
from tests.support.servers import free_port

B4 = shutil.which("b4", path=f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin")
pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(not B4, reason="b4 is not installed (pip install 'kmodpipe[lore]')"),
]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    # b4 itself drops the CRs of files in CR LF.
    return sample_mails.make(tmp_path_factory.mktemp("made"), returns=False)


def thread_of(mails: list[bytes]) -> tuple[str, bytes]:
    """The Message-ID of the cover letter, and the thread as an archive gives it, with a review of patch 1."""
    ids = [re.search(rb"^Message-I[Dd]: <(.*)>", mail, re.MULTILINE) for mail in mails]
    cover, first = (match[1].decode() for match in ids[:2] if match)
    reply = (
        "From: B <b@example.org>\nDate: Thu, 24 Sep 2020 10:00:00 +0000\nMessage-ID: <r@b.example.org>\n"
        f"Subject: Re: [PATCH v2 1/3] x\nIn-Reply-To: <{first}>\nReferences: <{first}>\n\nNice.\n\n"
        "Reviewed-by: B <b@example.org>\n"
    )
    separator = b"From mboxrd@z Thu Jan  1 00:00:00 1970"
    sent = [re.sub(rb"\AFrom [0-9a-f]{40} .*", separator, mail) for mail in mails]
    return cover, b"\n".join([*sent, separator + b"\n" + reply.encode()])


@contextmanager
def archive(mbox: bytes) -> Iterator[str]:
    """A server that has one thread, whatever mail of it is requested below /all/."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            data = gzip.compress(mbox) if re.fullmatch(r"/all/[^?]*/t\.mbox\.gz", self.path) else b""
            self.send_response(200 if data else 404)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_POST = do_HEAD = do_GET

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()


def applied(arg: str, made: Made, cache: Path) -> dict[str, bytes]:
    screen = Screen(Mode.QUIET, out=io.StringIO())
    tree = source.fetch(source.resolve(str(made.repository.parent / "base"), {}), {}, cache, screen)
    return dict(sample_mails.files(series.apply(series.load(arg, cache), tree, cache, screen)))


def test_the_newest_version_of_a_thread_with_its_trailers(made: Made, tmp_path: Path) -> None:
    old = [m.replace(b"+new", b"+older") for m in made.patches("--cover-letter", "--thread")]
    cover, mbox = thread_of([*made.patches("--cover-letter", "--thread", "-v2"), *old])
    with archive(mbox) as url:
        loaded = series.load(f"{url}/all/{cover}/", tmp_path)
        assert applied(f"{url}/all/{cover}/", made, tmp_path / "cache") == made.patched
    assert [patch.text.endswith("Reviewed-by: B <b@example.org>") for patch in loaded.patches] == [
        True,
        False,
        False,
    ]
    assert loaded.message_id == f"<{cover}>"


def test_a_thread_that_is_not_whole_is_refused(made: Made, tmp_path: Path) -> None:
    mails = made.patches("--cover-letter", "--thread", "-v2")
    cover, mbox = thread_of([*mails[:2], mails[3]])
    with archive(mbox) as url, pytest.raises(UserError, match="patch 2 of 3 is missing"):
        series.load(f"{url}/all/{cover}/", tmp_path)


def test_what_is_not_there_and_what_cannot_be_reached(made: Made, tmp_path: Path) -> None:
    with archive(b"") as url, pytest.raises(UserError, match="no such mail"):
        series.load(f"{url}/none/x@example.org/", tmp_path)
    with pytest.raises(InfraError, match=r"127\.0\.0\.1 did not give the thread"):
        series.load(f"http://127.0.0.1:{free_port()}/all/x@example.org/", tmp_path)
    with pytest.raises(UserError, match="names no mail of a list"):
        series.load("https://lore.kernel.org/linux-unionfs/", tmp_path)


@pytest.mark.parametrize(("options", "name"), [((), "x.mbx"), (("-M",), "x.maildir"), (("-Q",), "x.patches")])
def test_the_files_of_b4_give_the_tree_that_git_has(
    options: tuple[str, ...], name: str, made: Made, tmp_path: Path
) -> None:
    assert B4
    _, mbox = thread_of(made.patches("--cover-letter", "--thread", "-v2"))
    (tmp_path / "thread.mbox").write_bytes(mbox)
    argv = [B4, "-n", "--no-stdin", "--offline-mode", "-c", "b4.attestation-policy=off", "am", *options]
    argv += ["-o", "out", "-n", "x", "-m", "thread.mbox"]
    env = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "LC_ALL": "C.UTF-8"}
    subprocess.run(argv, cwd=tmp_path, env=env, check=True, capture_output=True)
    assert applied(str(tmp_path / "out" / name), made, tmp_path / "cache") == made.patched
