"""Tarballs, by path and by URL."""

from __future__ import annotations

import gzip
import http.server
import io
import lzma
import tarfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.faults import Outcome, Scene
from tests.faults.hostile.base import Outside, Try, fault, outcome_of
from tests.support.trees import FILES

Fill = Callable[[tarfile.TarFile], None]
MIB = 1024 * 1024


def info(name: str, kind: bytes = tarfile.REGTYPE, *, to: str = "", mode: int = 0o644) -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type, made.linkname, made.mode = kind, to, mode
    return made


def file(archive: tarfile.TarFile, name: str, content: bytes = b"x\n", *, mode: int = 0o644) -> None:
    made = info(name, mode=mode)
    made.size = len(content)
    archive.addfile(made, io.BytesIO(content))


def tarball(path: Path, fill: Fill, *, top: str = "linux/", mode: str = "w") -> Path:
    """A small kernel tree as an archive, and what ``fill`` adds to it."""
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, text in FILES.items():
            file(archive, f"{top}{name}", text.encode())
        fill(archive)
    return path


def members(scene: Scene, wanted: dict[str, tuple[Fill, str]]) -> list[Try]:
    return [
        Try(name, ("fetch", "--tree", tarball(scene.root / f"{number}.tar", fill)), says)
        for number, (name, (fill, says)) in enumerate(wanted.items())
    ]


@fault("archive-names", "archives with .., absolute, .git, impossible and doubled names")
def names(scene: Scene) -> Outcome:
    outside = Outside(scene)

    def hard_link_to_nothing(archive: tarfile.TarFile) -> None:
        archive.addfile(info("linux/hard", tarfile.LNKTYPE, to=str(outside.canary)))

    unsafe = "not safe to unpack"
    tries = members(
        scene,
        {
            "dot dot": (
                lambda a: file(a, "linux/../../outside/victim"),
                f"{unsafe}.*points out of the archive",
            ),
            "absolute": (lambda a: file(a, str(outside.victim)), f"{unsafe}.*has an absolute name"),
            "git hook": (lambda a: file(a, "linux/.git/hooks/post-checkout"), f"{unsafe}.*git repository"),
            "git file": (lambda a: file(a, "linux/.GIT", b"gitdir: /tmp\n"), f"{unsafe}.*git repository"),
            "long name": (lambda a: file(a, f"linux/{'x' * 300}"), "impossible name"),
            "long path": (lambda a: file(a, "linux/" + "d/" * 900), "impossible name"),
            "twice": (lambda a: file(a, "linux/Makefile"), "is there twice"),
            "file as folder": (lambda a: file(a, "linux/Makefile/x"), "used as a folder and is none"),
            "escape codes": (lambda a: file(a, "linux/../\x1b[31m\nerror: none"), r"x1b\[31m\\nerror: none"),
            "hard link": (hard_link_to_nothing, f"{unsafe}.*absolute name"),
        },
    )
    return outcome_of(scene, tries, outside)


@fault("archive-links", "archives with links out, chains of them, links written through, loops")
def links(scene: Scene) -> Outcome:
    outside = Outside(scene)
    out = "is a link out of the tree"

    def linked(*pairs: tuple[str, str], through: str = "") -> Fill:
        def fill(archive: tarfile.TarFile) -> None:
            for name, target in pairs:
                archive.addfile(info(f"linux/{name}", tarfile.SYMTYPE, to=target))
            if through:
                file(archive, f"linux/{through}")

        return fill

    tries = members(
        scene,
        {
            "relative": (linked(("out", "../../outside/canary")), out),
            "absolute": (linked(("out", str(outside.canary))), out),
            "written through": (linked(("d", "../../outside"), through="d/victim"), "used as a folder"),
            # By its words alone each of the two stays inside.
            "chain": (linked(("fs/toy/up", "../.."), ("out", "fs/toy/up/../../outside/canary")), out),
            "Makefile by chain": (linked(("a", "."), ("b", "a/../../outside/canary")), out),
            "loop": (linked(("x", "y"), ("y", "x")), out),
            "links of links": (linked(*((f"l{n}", f"l{n + 1}/l{n + 1}") for n in range(60))), out),
        },
    )
    return outcome_of(scene, tries, outside)


@fault("archive-kinds", "archives with devices, pipes, broken headers, no kernel, or no archive at all")
def kinds(scene: Scene) -> Outcome:
    outside = Outside(scene)

    def headers_of_headers(archive: tarfile.TarFile) -> None:
        archive.fileobj.write(info("././@LongLink", tarfile.GNUTYPE_LONGNAME).tobuf() * 5000)  # type: ignore[union-attr]

    def below_nothing(archive: tarfile.TarFile) -> None:
        made = info("linux/negative")
        made.pax_headers = {"size": "-1024"}
        archive.addfile(made)

    no_tree = "is a device, pipe"
    tries = members(
        scene,
        {
            "device": (lambda a: a.addfile(info("linux/null", tarfile.CHRTYPE)), no_tree),
            "disk": (lambda a: a.addfile(info("linux/sda", tarfile.BLKTYPE)), no_tree),
            "pipe": (lambda a: a.addfile(info("linux/pipe", tarfile.FIFOTYPE)), no_tree),
            "headers of headers": (headers_of_headers, "damaged"),
            "a size below nothing": (below_nothing, "damaged|not safe"),
        },
    )
    whole = tarball(scene.root / "whole.tar.gz", lambda a: None, mode="w:gz").read_bytes()
    wrong = {
        "cut.tar.gz": (whole[:-20], "damaged or cut short"),
        "text.tar.xz": (b"this is no archive\n" * 99, "damaged or cut short"),
        "empty.tar": (b"", "damaged or cut short|is empty"),
    }
    for name, (content, says) in wrong.items():
        (scene.root / name).write_bytes(content)
        tries.append(Try(name, ("fetch", "--tree", scene.root / name), says))
    bare = scene.root / "bare.tar"
    with tarfile.open(bare, "w") as archive:
        file(archive, "README")
    tries.append(Try("no kernel", ("fetch", "--tree", bare), "not a kernel tree: it has no Makefile"))
    (scene.root / "zero.tar").symlink_to("/dev/zero")
    tries.append(Try("endless", ("fetch", "--tree", scene.root / "zero.tar"), "neither a folder nor a .tar"))
    return outcome_of(scene, tries, outside)


@fault(
    "archive-bombs", "archives that unpack to far more than they are: bytes, holes, files, and behind the end"
)
def bombs(scene: Scene) -> Outcome:
    outside = Outside(scene)
    zeros = bytes(MIB)

    def of_zeros(
        path: Path, opened: Callable[[Path], gzip.GzipFile | lzma.LZMAFile], *, behind: bool = False
    ) -> Path:
        with opened(path) as out, tarfile.open(fileobj=out, mode="w|") as archive:
            for name, text in FILES.items():
                file(archive, f"linux/{name}", text.encode())
            if not behind:
                big = info("linux/zeros")
                big.size = 600 * MIB
                archive.addfile(big, _Zeros(big.size))  # type: ignore[arg-type]
        if behind:
            with opened(path.with_suffix(".more")) as out:
                for _ in range(600):
                    out.write(zeros)
            path.write_bytes(path.read_bytes() + path.with_suffix(".more").read_bytes())
        return path

    sparse = scene.root / "sparse.tar"
    with tarfile.open(sparse, "w", format=tarfile.PAX_FORMAT) as archive:
        holes = info("linux/holes")
        holes.pax_headers = {
            "GNU.sparse.major": "0", "GNU.sparse.minor": "1", "GNU.sparse.name": "linux/holes",
            "GNU.sparse.map": f"{1 << 40},0", "GNU.sparse.size": str(1 << 40),
        }  # fmt: skip
        archive.addfile(holes)
    larger = "times as large as the archive"
    made = {
        "gzip": (of_zeros(scene.root / "g.tar.gz", gzipped), larger),
        "xz": (of_zeros(scene.root / "x.tar.xz", xzed), larger),
        "holes": (sparse, "larger than any kernel source"),
        "behind its end": (of_zeros(scene.root / "b.tar.gz", gzipped, behind=True), "follow its end"),
    }
    tries = [Try(name, ("fetch", "--tree", path), says) for name, (path, says) in made.items()]
    return outcome_of(scene, tries, outside)


def gzipped(path: Path) -> gzip.GzipFile:
    return gzip.GzipFile(path, "wb", 1)


def xzed(path: Path) -> lzma.LZMAFile:
    return lzma.LZMAFile(path, "wb", preset=0)


class _Zeros(io.RawIOBase):
    """So many zero bytes, none of which is ever kept."""

    def __init__(self, size: int) -> None:
        self._left = size

    def read(self, size: int = -1) -> bytes:
        taken = min(size if size >= 0 else self._left, self._left, MIB)
        self._left -= taken
        return bytes(taken)


@fault("archive-of-many-files", "an archive of half a million files and one")
def many_files(scene: Scene) -> Outcome:
    outside = Outside(scene)
    path = scene.root / "many.tar.gz"
    # Folders: none of them costs anything but its header, and one name may come as often as it likes.
    with gzip.open(path, "wb", 1) as out:
        block = info("linux/d/", tarfile.DIRTYPE, mode=0o755).tobuf() * 1000
        for _ in range(501):
            out.write(block)
        out.write(bytes(1024))
    return outcome_of(
        scene, [Try("many", ("fetch", "--tree", path), "one more than the 500000 members allowed")], outside
    )


@contextmanager
def serving(answer: Callable[[http.server.BaseHTTPRequestHandler], None]) -> Iterator[str]:
    """A server on this machine that gives ``answer``; its address."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer(self)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@fault(
    "archive-by-url",
    "addresses that give no archive: too large, to a file of this machine, nothing, a name with ..",
)
def by_url(scene: Scene) -> Outcome:
    outside = Outside(scene)
    unsafe = tarball(scene.root / "unsafe.tar", lambda a: file(a, "linux/../../outside/victim")).read_bytes()

    def answer(asked: http.server.BaseHTTPRequestHandler) -> None:
        if asked.path.startswith("/moved"):
            asked.send_response(302)
            asked.send_header("Location", f"file://{outside.canary}")
            asked.end_headers()
            return
        if asked.path.startswith("/gone"):
            asked.send_error(404)
            return
        asked.send_response(200)
        size = 1 << 50 if asked.path.startswith("/large") else len(unsafe)
        asked.send_header("Content-Length", str(size))
        asked.end_headers()
        asked.wfile.write(unsafe)

    with serving(answer) as url:
        tries = [
            Try("unsafe", ("fetch", "--tree", f"{url}/..%2foutside%2fx.tar"), "points out of the archive"),
            Try("large", ("fetch", "--tree", f"{url}/large.tar"), "larger than any kernel source"),
            Try("gone", ("fetch", "--tree", f"{url}/gone.tar"), "HTTP status 404"),
            Try("moved to a file", ("fetch", "--tree", f"{url}/moved.tar"), "leads to one that is not http"),
        ]  # fmt: skip
        return outcome_of(scene, tries, outside)
