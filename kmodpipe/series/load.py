"""Read a series from a quilt folder, a folder of patches, a mailbox, or a single patch.

patches/<name>/series        patch file names in order; blank lines and # comments are allowed
patches/<name>/series.toml   summary, module, design, applies-to, axes; subject and message-id of the mail
                             to reply to, if it is not the first patch
"""

from __future__ import annotations

import email
import email.policy
import os
import re
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from kmodpipe.series.model import Patch, Series, git, is_diff, read_patch
from kmodpipe.util import paths, toml
from kmodpipe.util.errors import UserError, unknown_name
from kmodpipe.util.files import temporary
from kmodpipe.util.workers import Pool

UNPATCHED = "unpatched"
_NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9_+-]*$")
_NUMBERED = re.compile(r"\[[^\]]*\bPATCH\b[^\]]*?\b(\d+)/(\d+)[^\]]*\]", re.IGNORECASE)
_MAX_BYTES = 64 * 1024 * 1024
_MAX_MESSAGES = 1000
_NAME_LENGTH = 60


class _Meta(BaseModel):
    """The contents of a series.toml."""

    model_config = ConfigDict(extra="forbid", frozen=True, alias_generator=lambda n: n.replace("_", "-"))

    summary: str = ""
    module: str | None = Field(None, pattern=r"^[A-Za-z0-9_][A-Za-z0-9_./-]*$")
    design: str | None = Field(None, pattern=_NAME.pattern)
    applies_to: tuple[str, ...] = ()
    subject: str = ""
    message_id: str = ""
    axes: dict[str, Annotated[str, Field(pattern=r"^\w+$")]] = Field(default_factory=dict)


def available(patches_dir: Path) -> tuple[str, ...]:
    """Return the names of the series below ``patches_dir``, sorted."""
    if not patches_dir.is_dir():
        return ()
    return tuple(sorted(p.name for p in patches_dir.iterdir() if (p / "series").is_file()))


def load(arg: str, patches_dir: Path) -> Series:
    """Return the series named ``arg`` below ``patches_dir``, or read from the folder or file of that path.

    Raise UserError for an unknown name (with similar ones), and for a series that is malformed.
    """
    if arg in available(patches_dir):
        return _load_folder(arg, patches_dir / arg, f"{patches_dir.name}/{arg}")
    path = paths.expanded(arg)
    if paths.is_dir(path):
        return _load_folder(_name_of(path.resolve().name), path, str(path))
    if paths.is_file(path):
        return _load_file(path)
    if "/" in arg or arg.startswith((".", "~")):
        raise UserError(f"no such series: {arg} is neither a folder nor a file", where="--series")
    hint = "or give a folder of patches, or an mbox file"
    raise unknown_name("series", arg, available(patches_dir), where=str(patches_dir), hint=hint)


def _name_of(words: str) -> str:
    """Return a name for a series that was given by path. Cell ids contain it, so it has no dots."""
    name = re.sub(r"[^A-Za-z0-9_+-]+", "-", words).strip("-+_")[:_NAME_LENGTH] or "series"
    return f"{name}-series" if name == UNPATCHED else name


# -- folders -----------------------------------------------------------------------------------------
def _load_folder(name: str, folder: Path, origin: str) -> Series:
    if name == UNPATCHED or not _NAME.fullmatch(name) or len(name) > _NAME_LENGTH:
        raise UserError(
            f"a series cannot be named {name!r}",
            where=origin,
            hint=f"up to {_NAME_LENGTH} letters, digits, - _ and +",
        )
    root = folder.resolve()
    listing = folder / "series"
    for own in (listing, folder / "series.toml"):
        # Error messages quote these files: a link must not make them quote a file outside the folder.
        if not own.resolve().is_relative_to(root):
            raise UserError(f"{own.name} is a link out of the series' folder", where=str(own))
        if paths.exists(own) and not paths.is_file(own):
            raise UserError(f"{own.name} is not a file", where=str(own))
    meta = _read_meta(folder / "series.toml")
    if listing.is_file():
        names = _read_listing(listing)
    else:
        names = sorted(p.name for p in folder.iterdir() if p.suffix == ".patch")
    if not names:
        raise UserError("the series holds no patch", where=str(folder))
    where = str(listing if listing.is_file() else folder)
    files = [(patch_name, _patch_file(folder, patch_name, where)) for patch_name in names]
    # In parallel: each patch takes a run of git.
    with Pool(os.cpu_count()) as pool:
        patches = tuple(pool.map(lambda f: read_patch(f[0], f[1], _read_bytes(f[1]), where=str(f[1])), files))
    subject, message_id = _head(patches[0].data)
    return Series(
        name=name,
        design=meta.design or name,
        summary=meta.summary,
        module=meta.module,
        applies_to=meta.applies_to,
        patches=patches,
        origin=origin,
        axes=meta.axes,
        subject=meta.subject or subject,
        message_id=meta.message_id or message_id,
    )


def _patch_file(folder: Path, name: str, where: str) -> Path:
    """Return the path of a patch. Raise UserError if it is no file in the series' folder."""
    path = folder / name
    if paths.has_controls(name) or not paths.is_plain(name):
        raise UserError(f"no patch can be named {name[:200]!r}", where=where)
    if not _resolved(path, where).is_relative_to(folder.resolve()):
        raise UserError(
            f"patch {name} lies outside the series' folder",
            where=where,
            hint="copy it there: links that lead out are not followed",
        )
    if not paths.is_file(path):
        what = f"{name} is not a file" if paths.exists(path) else f"there is no patch {name}"
        raise UserError(what, where=where)
    return path


def _resolved(path: Path, where: str) -> Path:
    try:
        return path.resolve()
    except (OSError, RuntimeError) as e:
        raise UserError(f"{path.name} cannot be read: {e}", where=where) from e


def _head(mail: bytes) -> tuple[str, str]:
    """Return Subject and Message-ID of a mail; each is empty if the mail has none."""
    head = mail.partition(b"\n\n")[0] + b"\n\n"
    subject, message_id = (" ".join(_header(head, name).split()) for name in ("Subject", "Message-ID"))
    return subject, message_id


def _read_bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as f:
            data = f.read(_MAX_BYTES + 1)
    except OSError as e:
        raise UserError(f"{path.name} cannot be read: {e.strerror}", where=str(path)) from e
    if len(data) > _MAX_BYTES:
        raise UserError(f"larger than {_MAX_BYTES >> 20} MiB: no patch is", where=str(path))
    return data


def _read_text(path: Path) -> str:
    try:
        return _read_bytes(path).decode()
    except UnicodeDecodeError as e:
        raise UserError(f"{path.name} is not text in UTF-8: {e}", where=str(path)) from e


def _read_meta(path: Path) -> _Meta:
    table = toml.parse(_read_text(path), "series.toml", path) if path.is_file() else {}
    meta = toml.validate(_Meta, table, "series.toml", path)
    for version in meta.applies_to:
        if not re.fullmatch(r"\d+\.\d+", version):
            raise UserError(f"applies-to: not VERSION.PATCHLEVEL: {version!r}", where=str(path))
    return meta


def _read_listing(listing: Path) -> list[str]:
    names: list[str] = []
    for number, raw in enumerate(_read_text(listing).splitlines(), 1):
        words = re.sub(r"(^|\s)#.*$", "", raw).split()
        if not words:
            continue
        where = f"{listing}:{number}"
        name, *options = words
        for option in options:
            if option != "-p1":
                raise UserError(f"{option} is not supported, patches are applied with -p1", where=where)
        if name.startswith("/") or ".." in name.split("/"):
            raise UserError(f"patch {name} lies outside the series' folder", where=where)
        if name in names:
            raise UserError(f"patch {name} is listed twice", where=where)
        names.append(name)
    return names


# -- mailboxes and single patches --------------------------------------------------------------------
def _load_file(path: Path) -> Series:
    data = _read_bytes(path)
    plain = path.suffix in (".patch", ".diff") and not data.startswith(b"From ")
    if plain or re.match(rb"\s*(diff --git |--- )", data):
        patches: tuple[Patch, ...] = (read_patch(path.name, path, data, where=str(path)),)
        head = _head(data)
    else:
        patches, head = _load_mailbox(path, data)
    name, summary = _name_of(path.stem), f"{len(patches)} patches from {path.name}"
    return Series(name, name, summary, None, (), patches, str(path), subject=head[0], message_id=head[1])


def _load_mailbox(path: Path, data: bytes) -> tuple[tuple[Patch, ...], tuple[str, str]]:
    """Return a mailbox's patches, and Subject and Message-ID of its cover letter or else its first patch.

    The patches are the messages with a diff that are no replies, in the order of their [PATCH n/m].
    """
    found: list[tuple[str, bytes]] = []
    heads: list[tuple[str, str]] = []
    with temporary("mbox") as folder:
        # git parses the mails as git am does: transfer encodings, >From, line ends.
        split = git(folder, "mailsplit", "-b", f"-o{folder}", stdin=data, check=False)
        if split.returncode != 0:
            raise UserError("git cannot read this mailbox", where=str(path), detail=split.tail)
        messages = sorted(folder.glob("[0-9]*"))
        if len(messages) > _MAX_MESSAGES:
            raise UserError(f"it holds more than {_MAX_MESSAGES} messages", where=str(path))
        for message in messages:
            raw = message.read_bytes()
            diff = folder / "diff"
            done = git(folder, "mailinfo", "msg", "diff", stdin=raw, check=False)
            if done.returncode != 0 or not diff.is_file():
                raise UserError(f"git cannot read message {message.name}", where=str(path), detail=done.tail)
            subject = _header(raw, "Subject")
            heads.append(_head(raw))
            content = diff.read_bytes()
            if content.strip() and is_diff(content):
                found.append((" ".join(subject.split()), content))
    fresh = [one for one in found if not re.match(r"re:", one[0], re.IGNORECASE)]
    ordered = _in_order(fresh or found, path)
    if not ordered:
        raise UserError("no message in it carries a patch", where=str(path))
    patches = tuple(
        read_patch(_patch_name(number, subject), path, content, where=f"{path}: {subject}")
        for number, (subject, content) in enumerate(ordered, 1)
    )
    return patches, _first_mail(heads, ordered[0][0])


def _first_mail(heads: list[tuple[str, str]], first_patch: str) -> tuple[str, str]:
    """Return the cover letter among these mails, else the one with the first patch."""
    covers = [
        head
        for head in heads
        if (match := _NUMBERED.search(head[0]))
        and int(match[1]) == 0
        and not head[0].lower().startswith("re:")
    ]
    own = [head for head in heads if head[0] == first_patch]
    return next(iter([*covers, *own]), ("", ""))


def _header(message: bytes, name: str) -> str:
    try:
        return str(email.message_from_bytes(message, policy=email.policy.default).get(name, ""))
    except (ValueError, TypeError, AttributeError, LookupError, RecursionError):
        # The parser of this policy raises these for some malformed headers.
        return ""


def _in_order(found: list[tuple[str, bytes]], path: Path) -> list[tuple[str, bytes]]:
    """Return the patches in the order of their [PATCH n/m], or unchanged if not all have one."""
    numbered = [(_NUMBERED.search(subject), (subject, content)) for subject, content in found]
    if not all(match for match, _ in numbered):
        return found
    keyed = [(int(match[1]), one) for match, one in numbered if match]
    numbers = [n for n, _ in keyed]
    twice = next((n for n in numbers if numbers.count(n) > 1), None)
    if twice is not None:
        hint = "keep one version of the series in the file"
        raise UserError(f"it holds patch number {twice} more than once", where=str(path), hint=hint)
    return [one for _, one in sorted(keyed, key=lambda pair: pair[0])]


def _patch_name(number: int, subject: str) -> str:
    words = re.sub(r"^(\s*\[[^\]]*\])+", "", subject)
    return f"{number:04}-{re.sub(r'[^A-Za-z0-9._]+', '-', words).strip('-.')[:52] or 'patch'}.patch"
