"""Take apart one mail: its subject, its ids, its text, and the patches in its body and attachments.

Python's `email` reads structure and encodings; ``git mailinfo`` finds the patch in the text as in ``git am``.
"""

from __future__ import annotations

import email
import email.errors
import email.message
import email.policy
import os
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from email.message import Message
from pathlib import Path

from kmodpipe.series.diff import has_diff, may_have_diff
from kmodpipe.series.model import git
from kmodpipe.util.errors import UserError

_REPLY = re.compile(r"(?:re|aw|sv|vs|antw|fwd?|wg)(?:\[\d+\])?:", re.IGNORECASE)
_MAIL_FIELDS = frozenset(("from", "subject", "date", "message-id"))
# 8-bit charsets that have ASCII in its place. In others, and in unknown ones, the bytes stay as they are.
_CHARSET = re.compile(
    r"(?:iso[-_]?8859[-_]\d{1,2}|latin[-_]?\d|(?:windows|cp)[-_]?125\d|koi8[-_][ru]|gb2312|gbk|gb18030|big5"
    r"|shift[-_]jis|euc[-_](?:jp|kr)|iso-2022-jp)",
    re.IGNORECASE,
)
_HEADER_LINE = re.compile(rb"^(?:diff --git |@@ -|--- |\+\+\+ )[^\n]*$", re.MULTILINE)
_PARTS = 200
_DEPTH = 3
# Of the text of a mail, which results keep.
_TEXT_CHARS = 8 * 1024
# Of a commit's message, which may have trailers at its end.
_MESSAGE_BYTES = 256 * 1024
# Where a message ends: at the line that git format-patch puts below it, or else at its diff.
_END = re.compile(r"^(?:---|diff --git .*|Index: .*|--- \S.*)$", re.MULTILINE)
_IN_BODY = re.compile(r"From:[ \t]*(?P<author>[^\n]+)\n(?:\n|\Z)")


@dataclass(frozen=True)
class Item:
    """A mail or a file that may carry a patch."""

    name: str
    # The file it is from.
    path: Path
    # The place, for messages.
    where: str
    # On one line; empty if there are no headers.
    subject: str = ""
    message_id: str = ""
    # The ids of the mails that it answers.
    references: tuple[str, ...] = ()
    # Empty if it carries no patch.
    diff: bytes = field(default=b"", repr=False)
    # The text of a mail, bounded for results.
    text: str = field(default="", repr=False)
    # Who wrote the patch, and the message of its commit, with its trailers; empty for a bare diff.
    author: str = ""
    message: str = field(default="", repr=False)

    @property
    def is_reply(self) -> bool:
        """Whether its subject says that it answers or forwards another mail."""
        return _REPLY.match(self.subject) is not None


Reader = Callable[[bytes, str, int], list[Item]]
"""Reads the bytes of an attached file of that name, at that depth of nesting."""


def is_mail(data: bytes) -> bool:
    """Return whether ``data`` begins with the headers of a mail."""
    head = re.split(rb"\r?\n\r?\n", data.lstrip(b"\r\n")[: 256 * 1024], maxsplit=1)[0]
    first = head.split(b"\n", 1)[0]
    if not re.match(rb"[!-9;-~]+:(?:\s|$)", first):
        return False
    try:
        names = {name.lower() for name in email.message_from_bytes(head + b"\n\n")}
    except (ValueError, LookupError, RecursionError):
        return False
    return bool(names & _MAIL_FIELDS)


def read_mail(raw: bytes, path: Path, where: str, attached: Reader, depth: int = 0) -> list[Item]:
    """Return the mail as an item, with its patch if it has one, and an item for each further attached patch.

    ``attached`` reads attachments. Raise UserError for a mail with too many or too deeply nested parts.
    """
    try:
        # Of a mail in lines with CR LF, the bodies have them too: see `_without_transport_cr`.
        message = email.message_from_bytes(raw.lstrip(b"\r\n"))
        return _read(message, path, where, attached, depth)
    except (RecursionError, email.errors.MessageError) as e:
        raise UserError("a mail in it cannot be read: its parts are nested too deeply", where=where) from e


def _read(message: Message, path: Path, where: str, attached: Reader, depth: int) -> list[Item]:
    subject = header(message, "Subject")
    ids = re.findall(r"<[^<>\s]+>", f"{header(message, 'References')} {header(message, 'In-Reply-To')}")
    author, commit_message = _commit(message)
    own = Item(
        name=subject,
        path=path,
        where=f"{where}: {subject}" if subject else where,
        subject=subject,
        message_id=header(message, "Message-ID"),
        references=tuple(dict.fromkeys(ids)),
        text=_as_text(message)[:_TEXT_CHARS].strip(),
        author=author,
        message=commit_message,
    )
    texts: list[bytes] = []
    files: list[Item] = []
    for number, part in enumerate(_leaves(message)):
        if number >= _PARTS:
            raise UserError(f"a mail in it has more than {_PARTS} parts", where=where)
        if part.get_content_type() == "message/rfc822":
            if depth < _DEPTH:
                for inner in part.get_payload():
                    if isinstance(inner, Message):
                        files += _read(inner, path, where, attached, depth + 1)
            continue
        data = _decoded(part)
        name = _file_name(part)
        is_text = part.get_content_maintype() == "text"
        if _is_file(part, name) and (message.is_multipart() or not is_text):
            if depth < _DEPTH:
                files += [_in_charset(one, part) for one in attached(data, name, depth + 1)]
        elif is_text and part.get_content_subtype() != "html":
            texts.append(_to_utf8(_patch_in(data, part), part))
    patches = [one for one in files if one.diff]
    if len(patches) == 1 and not patches[0].subject:
        # git format-patch --attach: the mail has the subject, its attachment the diff.
        return [replace(own, diff=patches[0].diff)]
    return [own, *patches] if patches else [replace(own, diff=b"".join(texts))]


def _leaves(message: Message) -> Iterator[Message]:
    """Yield the parts that have no parts; an enclosed mail is one part."""
    if message.get_content_type() == "message/rfc822" or not message.is_multipart():
        yield message
        return
    for part in message.get_payload():
        if isinstance(part, Message):
            yield from _leaves(part)


def _is_file(part: Message, name: str) -> bool:
    return bool(name) or part.get_content_disposition() == "attachment" or part.get_content_subtype() in (
        "x-patch", "x-diff", "octet-stream",
    )  # fmt: skip


def _file_name(part: Message) -> str:
    try:
        return str(part.get_filename("") or "")
    except (ValueError, LookupError, TypeError, AttributeError):
        return ""


def _decoded(part: Message) -> bytes:
    try:
        data = part.get_payload(decode=True)
    except (ValueError, LookupError, TypeError):
        return b""
    return data if isinstance(data, bytes) else b""


def _patch_in(body: bytes, part: Message) -> bytes:
    """Return the patch in the text of a mail, without the message before it; empty if there is none."""
    if not may_have_diff(body):
        return b""
    # Nothing of the mail's own headers goes to git but whether its lines are flowed (RFC 3676).
    flowed = b""
    if str(part.get_param("format", "")).lower() == "flowed":
        delsp = b"; delsp=yes" if str(part.get_param("delsp", "")).lower() == "yes" else b""
        flowed = b"Content-Type: text/plain; format=flowed" + delsp + b"\n"
    mail = b"From: a <a@b>\nSubject: a\n" + flowed + b"\n" + body
    # In memory: git does not look whether what it writes arrives, and a full disk would cut the patch short.
    with os.fdopen(os.memfd_create("diff"), "rb") as diff:
        place = f"/proc/{os.getpid()}/fd/{diff.fileno()}"
        done = git(Path("/"), "mailinfo", "-n", os.devnull, place, stdin=mail, check=False)
        found = diff.read() if done.returncode == 0 else body
    return found if has_diff(found) else b""


def without_transport_cr(diff: bytes) -> bytes:
    """Return a diff without the CR that a mail program or Windows put at the end of each line.

    A CR of the file itself is only on lines of its content, so that lines of git's have none.
    """
    lines = _HEADER_LINE.findall(diff)
    marks = [line for line in lines if line.startswith((b"diff --git ", b"@@ -"))]
    if marks and all(line.endswith(b"\r") for line in marks):
        return re.sub(rb"\r\n", b"\n", diff)
    return diff


# -- charsets ----------------------------------------------------------------------------------------
def _charset(part: Message) -> str:
    try:
        found = part.get_content_charset("") or ""
    except (ValueError, LookupError, TypeError, AttributeError):
        return ""
    return found if _CHARSET.fullmatch(found) else ""


def _to_utf8(diff: bytes, part: Message) -> bytes:
    """Return a diff in UTF-8 if its mail says that it is in an older charset; b4 does the same.

    The kernel's sources are in UTF-8; a mail program may have sent them in its own charset. What is UTF-8
    whatever the mail says, and what is not in its charset, stays as it is.
    """
    charset = _charset(part)
    if not charset or (diff.isascii() and charset != "iso-2022-jp"):
        return diff
    try:
        if not diff.isascii():
            diff.decode("utf-8")
            return diff
    except UnicodeDecodeError:
        pass
    try:
        return diff.decode(charset).encode("utf-8")
    except (UnicodeError, LookupError):
        return diff


def _in_charset(item: Item, part: Message) -> Item:
    return replace(item, diff=_to_utf8(item.diff, part)) if part.get_content_maintype() == "text" else item


def _as_text(message: Message) -> str:
    """Return the text of a mail for people, bounded; empty if it has none."""
    for part in _leaves(message):
        if part.get_content_type() == "text/plain":
            data = _decoded(part)[:_MESSAGE_BYTES]
            return data.decode(_charset(part) or "utf-8", "replace").replace("\r\n", "\n").strip()
    return ""


def _commit(message: Message) -> tuple[str, str]:
    """Return the author and the message of the commit that a mail carries.

    As for ``git am``, the author is who the text names on its first line, or else who sent the mail.
    """
    text = _as_text(message)
    end = _END.search(text)
    text = (text[: end.start()] if end else text).strip()
    named = _IN_BODY.match(text + "\n")
    if named:
        return named["author"].strip(), text[named.end() :].strip()
    return header(message, "From"), text


def header(message: Message, name: str) -> str:
    """Return a header decoded and on one line; empty if there is none or it cannot be decoded."""
    # As it is in the mail: `get` would replace what is not ASCII.
    raw = next((str(value) for key, value in message.raw_items() if key.lower() == name.lower()), "")
    text = raw.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    # The parser of this policy raises these for some malformed headers.
    with suppress(ValueError, TypeError, AttributeError, LookupError, RecursionError):
        text = str(email.policy.default.header_factory(name, text))
    return " ".join(text.split())
