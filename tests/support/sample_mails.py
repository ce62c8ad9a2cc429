"""One series as git makes it, in every form that people keep patches in."""

from __future__ import annotations

import base64
import binascii
import bz2
import gzip
import lzma
import mailbox
import re
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from email import encoders
from email.mime.base import MIMEBase
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText
from pathlib import Path

from tests.support.trees import commit_all, git, make_tree, write

_ENV = {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"}


@dataclass(frozen=True)
class Made:
    """A repository with the series on top of a toy tree."""

    repository: Path
    base: str
    topic: str
    # The patched tree: name → content.
    patched: Mapping[str, bytes]

    def patches(self, *options: str) -> list[bytes]:
        """The mails of git format-patch."""
        out = self.repository.parent / "formatted"
        names = git(self.repository, "format-patch", "-o", str(out), *options, f"{self.base}..{self.topic}")
        found = [Path(name).read_bytes() for name in names.split("\n")]
        for name in names.split("\n"):
            Path(name).unlink()
        return found

    def diff(self, *options: str) -> bytes:
        """The series as one diff, with its last newline."""
        done = ["git", "-C", str(self.repository), "diff", "--binary", *options, self.base, self.topic]
        return subprocess.run(done, env=_ENV, check=True, capture_output=True).stdout


def make(folder: Path, *, returns: bool = True) -> Made:
    """A series of three patches: UTF-8, trailing blanks, CRs, a new file, a rename, a mode, a removal."""
    end = b"\r\n" if returns else b"\n"
    base, work = folder / "base", folder / "work"
    for top in (base, work):
        make_tree(top)
        write(top, {"fs/toy/old.c": "old\n" * 30, "fs/toy/gone.c": "gone\n"})
        (top / "fs/toy/dos.txt").write_bytes(end.join((b"one", b"two", b"three", b"")))
    first = commit_all(work, "base")
    write(work, {"fs/toy/toy.h": "int a;\nint b = 1; /* é */\nint c;\n", "fs/toy/new.c": "new é\n"})
    commit_all(work, "toy: say hello — café\n\n1/3 of it.\n")
    git(work, "mv", "fs/toy/old.c", "fs/toy/moved.c")
    (work / "fs/toy/dos.txt").write_bytes(end.join((b"one", b"2", b"three", b"")))
    (work / "fs/toy/super.c").chmod(0o755)
    commit_all(
        work, "toy: move things, in a subject that is so long that a mail has to fold it over two lines"
    )
    git(work, "rm", "-q", "fs/toy/gone.c")
    write(work, {"fs/toy/toy.h": "int a;\nint b = 1; /* é */\nint c;   \n"})
    last = commit_all(work, "toy: remove one")
    return Made(work, first, last, files(work))


def files(tree: Path) -> Mapping[str, bytes]:
    """The files of a tree with their contents, marked if they may run; git's own are left out."""
    found = {}
    for path in sorted(tree.rglob("*")):
        name = path.relative_to(tree).as_posix()
        if path.is_dir() or name.split("/")[0] == ".git":
            continue
        if path.is_symlink():
            found[name] = b"-> " + bytes(path.readlink())
        else:
            found[name] = (b"x " if path.stat().st_mode & 0o100 else b"  ") + path.read_bytes()
    return found


# -- forms ---------------------------------------------------------------------------------------------
Form = Callable[[Made, Path], str]
FORMS: dict[str, Form] = {}


def form(name: str) -> Callable[[Form], Form]:
    def keep(function: Form) -> Form:
        FORMS[name] = function
        return function

    return keep


def _file(path: Path, data: bytes) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return str(path)


def _folder(folder: Path, contents: Iterator[bytes] | list[bytes], suffix: str = ".patch") -> str:
    for number, data in enumerate(contents, 1):
        _file(folder / f"{number:04}-x{suffix}", data)
    return str(folder)


def _mbox(made: Made, *options: str) -> bytes:
    return b"".join(made.patches(*options))


def _separated(patch: bytes) -> tuple[str, bytes]:
    """The subject and the body of a mail of git format-patch."""
    head, _, body = patch.partition(b"\n\n")
    subject = re.search(rb"^Subject: (.*(?:\n .*)*)", head, re.MULTILINE)
    assert subject
    return subject[1].decode(), body


def _mail(patch: bytes, cte: str, charset: str = "utf-8", body: bytes | None = None) -> bytes:
    """A mail of git format-patch as another mail program sends it."""
    subject, own = _separated(patch)
    head = (
        f"From: a <a@example.org>\nSubject: {subject}\nMIME-Version: 1.0\n"
        f"Content-Type: text/plain; charset={charset}\nContent-Transfer-Encoding: {cte}\n\n"
    )
    data = own if body is None else body
    if cte == "base64":
        data = base64.encodebytes(data)
    elif cte == "quoted-printable":
        # A CR of the file itself is no part of a line's end.
        data = binascii.b2a_qp(data.replace(b"\r", b"\x01")).replace(b"=01", b"=0D")
    return head.encode() + data + b"\n"


def _from_line(message: bytes) -> bytes:
    return b"From mboxrd@z Thu Jan  1 00:00:00 1970\n" + message + b"\n"


def _crlf(data: bytes) -> bytes:
    return data.replace(b"\n", b"\r\n")


@form("folder of git format-patch")
def _(made: Made, place: Path) -> str:
    return _folder(place, made.patches("--numbered"))


@form("folder with a cover letter")
def _(made: Made, place: Path) -> str:
    patches = made.patches("--cover-letter")
    _file(place / "0000-cover-letter.patch", patches[0])
    return _folder(place, patches[1:])


@form("folder without numbers in the subjects")
def _(made: Made, place: Path) -> str:
    return _folder(place, made.patches("-N"))


@form("folder in CR LF")
def _(made: Made, place: Path) -> str:
    return _folder(place, [_crlf(p) for p in made.patches()])


@form("folder in base64")
def _(made: Made, place: Path) -> str:
    return _folder(place, [_mail(p, "base64") for p in made.patches()])


@form("folder of packed patches")
def _(made: Made, place: Path) -> str:
    return _folder(place, [gzip.compress(p) for p in made.patches()], ".patch.gz")


@form("folder of names without padding, mails mixed up")
def _(made: Made, place: Path) -> str:
    for name, data in zip(("z", "a", "m"), made.patches(), strict=True):
        _file(place / f"{name}.patch", data)
    return str(place)


@form("quilt series with comments")
def _(made: Made, place: Path) -> str:
    for name, data in zip(("z", "a", "m"), made.patches("-N"), strict=True):
        _file(place / f"{name}.patch", data)
    _file(place / "series", b"# order\n\nz.patch\na.patch -p1 # why\nm.patch\n")
    return str(place)


@form("quilt series with -p0")
def _(made: Made, place: Path) -> str:
    _folder(place, made.patches("--no-prefix"))
    _file(place / "series", b"\xef\xbb\xbf# p0\r\n0001-x.patch -p0\r\n0002-x.patch -p0\r\n0003-x.patch\r\n")
    return str(place)


@form("mailbox of git format-patch")
def _(made: Made, place: Path) -> str:
    return _file(place / "x.mbox", _mbox(made))


@form("mailbox called .patch")
def _(made: Made, place: Path) -> str:
    return _file(place / "x.patch", _mbox(made))


@form("mailbox with a cover letter, in disorder")
def _(made: Made, place: Path) -> str:
    cover, first, second, third = made.patches("--cover-letter", "--thread")
    return _file(place / "x.mbox", third + first + cover + second)


@form("mailbox in CR LF")
def _(made: Made, place: Path) -> str:
    return _file(place / "x.mbox", _crlf(_mbox(made)))


@form("mailbox in gzip")
def _(made: Made, place: Path) -> str:
    return _file(place / "x.mbox.gz", gzip.compress(_mbox(made)))


@form("mailbox in two streams of gzip")
def _(made: Made, place: Path) -> str:
    first, *others = made.patches()
    return _file(place / "x.mbox.gz", gzip.compress(first) + gzip.compress(b"".join(others)))


@form("mailbox in xz")
def _(made: Made, place: Path) -> str:
    return _file(place / "x.mbox.xz", lzma.compress(_mbox(made)))


@form("mailbox in bzip2")
def _(made: Made, place: Path) -> str:
    return _file(place / "x.mbox.bz2", bz2.compress(_mbox(made)))


@form("mails with the patch attached (--attach)")
def _(made: Made, place: Path) -> str:
    return _file(place / "x.mbox", _mbox(made, "--attach"))


@form("mails with the patch attached inline (--inline)")
def _(made: Made, place: Path) -> str:
    return _file(place / "x.mbox", _mbox(made, "--inline"))


@form("mails in quoted-printable")
def _(made: Made, place: Path) -> str:
    mails = [_from_line(_mail(p, "quoted-printable")) for p in made.patches()]
    return _file(place / "x.mbox", b"".join(mails))


@form("mails in base64 with CR LF inside")
def _(made: Made, place: Path) -> str:
    mails = [_mail(p, "base64", body=_crlf(_separated(p)[1])) for p in made.patches()]
    return _file(place / "x.mbox", b"".join(map(_from_line, mails)))


@form("mails in latin-1")
def _(made: Made, place: Path) -> str:
    mails = []
    for patch in made.patches():
        body = _separated(patch)[1].decode().replace("—", "-").encode("latin-1")
        mails.append(_from_line(_mail(patch, "8bit", "iso-8859-1", body)))
    return _file(place / "x.mbox", b"".join(mails))


@form("mails with format=flowed")
def _(made: Made, place: Path) -> str:
    def flowed(patch: bytes) -> bytes:
        _, body = _separated(patch)
        # RFC 3676: what begins with a blank gets another one. Blanks at the end would join lines.
        stuffed = re.sub(rb"^(?=[ >]|From )", b" ", body, flags=re.MULTILINE)
        return _mail(patch, "8bit", "utf-8; format=flowed", stuffed)

    first, second, third = made.patches()
    return _file(
        place / "x.mbox",
        b"".join(map(_from_line, (flowed(first), _mail(second, "8bit"), _mail(third, "8bit")))),
    )


@form("a mail a file, .eml")
def _(made: Made, place: Path) -> str:
    for number, patch in enumerate(made.patches(), 1):
        _file(place / f"mail {number}.eml", _crlf(_mail(patch, "quoted-printable")))
    return str(place)


@form("one mail with the patches attached")
def _(made: Made, place: Path) -> str:
    mail = MIMEMultipart()
    mail["Subject"], mail["From"] = "my series", "a@example.org"
    mail.attach(MIMEText("here you are"))
    for number, patch in enumerate(made.patches(), 1):
        part = MIMEBase("text", "x-patch")
        part.set_payload(patch)
        encoders.encode_base64(part)
        part.add_header("Content-Disposition", "attachment", filename=f"{number:04}-x.patch")
        mail.attach(part)
    return _file(place / "x.eml", mail.as_bytes())


@form("maildir")
def _(made: Made, place: Path) -> str:
    place.mkdir()
    folder = mailbox.Maildir(str(place / "dir"))
    for patch in reversed(made.patches("--cover-letter")):
        folder.add(_mail(patch, "quoted-printable"))
    return str(place / "dir")


@form("thread with replies, trailers and quotes")
def _(made: Made, place: Path) -> str:
    mails = []
    for number, patch in enumerate(made.patches("--cover-letter", "-v3", "--thread")):
        mails.append(patch)
        subject, body = _separated(patch)
        quoted = b"".join(b"> " + line + b"\n" for line in body.split(b"\n"))
        answer = f"From: b <b@example.org>\nSubject: Re: {subject}\nMessage-ID: <{number}@b>\n\n".encode()
        mails.append(_from_line(answer + quoted + b"\nReviewed-by: b <b@example.org>\n"))
    other = _separated(made.patches()[0])[1].replace(b"+new", b"+better")
    mails.append(_from_line(b"From: b <b@example.org>\nSubject: Re: [PATCH v3 1/3] x\n\nrather:\n" + other))
    return _file(place / "x.mbox", b"".join(mails))


@form("two versions in one thread")
def _(made: Made, place: Path) -> str:
    old = [p.replace(b"+new", b"+older") for p in made.patches("--cover-letter")]
    return _file(place / "x.mbox", b"".join([*old, *made.patches("--cover-letter", "-v2")]))


@form("git diff")
def _(made: Made, place: Path) -> str:
    return _file(place / "x.diff", made.diff())


@form("git diff --no-prefix")
def _(made: Made, place: Path) -> str:
    return _file(place / "x.diff", made.diff("--no-prefix", "-M"))


@form("git diff with diff.mnemonicPrefix")
def _(made: Made, place: Path) -> str:
    return _file(place / "x.diff", made.diff("--src-prefix=c/", "--dst-prefix=w/"))


@form("git diff in CR LF")
def _(made: Made, place: Path) -> str:
    return _file(place / "x.diff", _crlf(made.diff()))


@form("git diff in UTF-16, as PowerShell writes it")
def _(made: Made, place: Path) -> str:
    return _file(place / "x.diff", _crlf(made.diff()).decode().encode("utf-16"))


@form("git diff with a byte order mark")
def _(made: Made, place: Path) -> str:
    return _file(place / "x.diff", b"\xef\xbb\xbf" + made.diff())


@form("folder with a diff alone")
def _(made: Made, place: Path) -> str:
    return str(Path(_file(place / "one.diff", made.diff())).parent)


@form("git show")
def _(made: Made, place: Path) -> str:
    shown = ["git", "-C", str(made.repository), "log", "--reverse", "-p", f"{made.base}..{made.topic}"]
    return _file(place / "x.patch", subprocess.run(shown, env=_ENV, check=True, capture_output=True).stdout)


@form("commits of a repository")
def _(made: Made, place: Path) -> str:
    return f"{made.repository}#{made.base}..{made.topic}"


@form("working tree of a checkout")
def _(made: Made, place: Path) -> str:
    git(made.repository, "worktree", "add", "-q", "--detach", str(place), made.topic)
    git(place, "reset", "-q", "--soft", made.base)
    git(place, "rm", "-q", "--cached", "fs/toy/new.c")
    return f"{place}#{made.base}"


def plain_diff(made: Made, *options: str) -> bytes:
    """diff -u of two folders; it does not show modes."""
    old = made.repository.parent / "base"
    argv = ["diff", "--no-dereference", "-urN", *options, "-x", ".git", "base", "work"]
    return subprocess.run(argv, cwd=old.parent, env=_ENV, capture_output=True, check=False).stdout
