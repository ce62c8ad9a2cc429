"""Read a series from whatever people keep it in.

    NAME                    a folder below patches/: a quilt ``series`` file, the patches, series.toml
    FOLDER                  the same anywhere, a folder of patches or mails, or a maildir
    FILE                    a mailbox, mail, patch or diff, packed or not
    REPOSITORY#BASE..TOPIC  commits of a git repository
    TREE, TREE#REF          what the working tree of a kernel checkout has on top of HEAD, or of REF
    MESSAGE-ID, URL         a thread of a public-inbox archive such as lore.kernel.org, by b4

patches/<name>/series.toml has summary, module, design, applies-to, axes; subject and message-id of the mail
to reply to, if it is not the cover letter or the first patch.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from kmodpipe.series import containers, from_git, from_list, packed
from kmodpipe.series.diff import read_patch
from kmodpipe.series.mail import Item
from kmodpipe.series.model import Patch, Port, Series, Unnoticed
from kmodpipe.series.numbering import Order, Selection, select, tag_of
from kmodpipe.series.series_toml import NAME, PortTable, SeriesToml
from kmodpipe.util import paths, toml, version
from kmodpipe.util.errors import UserError, unknown_name
from kmodpipe.util.files import temporary
from kmodpipe.util.text import some
from kmodpipe.util.workers import Pool

UNPATCHED = "unpatched"
_NAME_LENGTH = 60
# The subject of a cover letter as git format-patch leaves it to be written.
_UNWRITTEN = "*** SUBJECT HERE ***"


def available(patches_dir: Path) -> tuple[str, ...]:
    """Return the names of the series below ``patches_dir``, sorted."""
    if not patches_dir.is_dir():
        return ()
    return tuple(sorted(p.name for p in patches_dir.iterdir() if (p / "series").is_file()))


def load(arg: str, patches_dir: Path) -> Series:
    """Return the series that ``--series ARG`` names; see above.

    Raise UserError for an unknown name (with similar ones), and for a series that is malformed or not whole;
    InfraError if a list's archive cannot be reached.
    """
    if arg in available(patches_dir):
        loaded = _load_folder(arg, patches_dir / arg, f"{patches_dir.name}/{arg}")
        return loaded if loaded.design else replace(loaded, design=arg)
    path = paths.expanded(arg)
    if paths.is_dir(path) and not from_git.is_checkout(path):
        return _load_folder(_name_of(path.resolve().name), path, str(path))
    if paths.is_file(path):
        if path.suffix == packed.SUFFIX:
            return packed.load(path)
        return _load_items(
            containers.read_file(path, path.name), _name_of(containers.stem(path.name)), str(path)
        )
    if from_list.is_message(arg):
        with temporary("list") as folder:
            files, said = from_list.fetch(arg, folder)
            mails = [one for file in files for one in containers.read_file(file, file.name)]
            loaded = _load_items(mails, "", arg)
        return replace(loaded, notices=(*said, *loaded.notices))
    if paths.is_dir(paths.expanded(from_git.repository_of(arg))):
        name, items, said = from_git.read(arg)
        loaded = _load_items(items, _name_of(name), arg, Order.LISTED)
        return replace(loaded, notices=(*said, *loaded.notices))
    if "/" in arg or arg.startswith((".", "~")):
        raise UserError(f"no such series: {arg} is neither a folder nor a file", where="--series")
    hint = "or give a folder of patches, a mailbox, REPOSITORY#BASE..TOPIC, or a Message-ID of a list"
    raise unknown_name("series", arg, available(patches_dir), where=str(patches_dir), hint=hint)


def of_working_tree(root: Path, commit: str, ref: str) -> Series | None:
    """Return what the working tree of a repository has on top of a commit, named ``ref``; None if nothing."""
    items = from_git.of_working_tree(root, commit, ref)
    return _load_items(items, _name_of(root.name), str(root), Order.LISTED) if items else None


def _name_of(words: str) -> str:
    """Return a name for a series that was given by path. Cell ids contain it, so it has no dots."""
    name = re.sub(r"[^A-Za-z0-9_+-]+", "-", words).strip("-+_")[:_NAME_LENGTH] or "series"
    return f"{name}-series" if name == UNPATCHED else name


# -- folders -----------------------------------------------------------------------------------------
def _load_folder(name: str, folder: Path, origin: str) -> Series:
    if name == UNPATCHED or not NAME.fullmatch(name) or len(name) > _NAME_LENGTH:
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
    where = str(listing if listing.is_file() else folder)
    strips: dict[str, int | None] = {}
    if listing.is_file():
        strips = _read_listing(listing)
        items, order = _files(folder, strips, where), Order.LISTED
    elif containers.is_maildir(folder):
        items, order = containers.read_maildir(folder), Order.MAILS
    else:
        names = sorted(p.name for p in folder.iterdir() if containers.is_patch_name(p.name))
        items, order = _files(folder, names, where), Order.NAMED
    chosen = select(items, order, where)
    if not chosen.patches:
        raise UserError("the series holds no patch", where=str(folder))
    made = _series(name, chosen, origin, strips, by_name=order is not Order.MAILS)
    return replace(
        made,
        ports=tuple(_load_port(folder, one, made, strips) for one in meta.port),
        design=meta.design or "",
        summary=meta.summary or made.summary,
        module=meta.module,
        applies_to=meta.applies_to,
        axes=meta.axes,
        subject=meta.subject or made.subject,
        message_id=meta.message_id or made.message_id,
        unnoticed=tuple(
            Unnoticed(one.file, one.line, one.reason, one.mistake or "", one.of, one.function)
            for one in meta.unnoticed
        ),
        notices=(*made.notices, *_not_read(folder, strips or None, order, meta.port)),
    )


def _load_port(folder: Path, port: PortTable, of: Series, strips: dict[str, int | None]) -> Port:
    """Return a port of a series: the patches in its folder. Raise UserError for one that replaces nothing."""
    below, where = folder / port.folder, str(folder / "series.toml")
    if not paths.is_plain(port.folder) or paths.has_controls(port.folder) or below.is_symlink():
        raise UserError(
            f"a port's folder is one below the series' own, {port.folder[:80]!r} is not", where=where
        )
    if not paths.is_dir(below):
        raise UserError(f"there is no folder {port.folder}", where=where)
    known = {patch.name: patch for patch in of.patches}
    names = sorted(p.name for p in below.iterdir() if containers.is_patch_name(p.name))
    for name in names:
        if name not in known:
            hint = "a port's patch replaces the one of its name"
            raise unknown_name("patch", name, known, where=str(below), hint=hint)
    if not names:
        raise UserError("the port holds no patch", where=str(below))
    items = {name: containers.read_file(_patch_file(below, name, str(below)), name) for name in names}
    if bad := [name for name, found in items.items() if len([one for one in found if one.diff]) != 1]:
        raise UserError(f"{bad[0]} is not one patch", where=str(below))
    patches = tuple(
        _patch(name, one, strips.get(name)) for name, found in items.items() for one in found if one.diff
    )
    return Port(port.folder, port.kernel, patches)


def _files(folder: Path, names: Iterable[str], where: str) -> list[Item]:
    """Return the patches and mails in the files of a folder, in this order."""
    files = [(name, _patch_file(folder, name, where)) for name in names]
    # In parallel: each patch takes some runs of git.
    with Pool(os.cpu_count()) as pool:
        found = list(pool.map(lambda f: containers.read_file(f[1], f[0]), files))
    items: list[Item] = []
    for (name, _), own in zip(files, found, strict=True):
        carried = [one for one in own if one.diff] or own
        # The body of a mail whose patches are attached is none, but may be the cover letter.
        rest = [one for one in own if one not in carried and tag_of(one.subject).is_cover]
        items += [replace(one, name=name) for one in rest]
        names_of = [name] if len(carried) == 1 else [f"{name}:{n}" for n in range(1, len(carried) + 1)]
        items += [replace(one, name=named) for one, named in zip(carried, names_of, strict=True)]
    return items


def _not_read(
    folder: Path, listed: Iterable[str] | None, order: Order, ports: Iterable[PortTable]
) -> tuple[str, ...]:
    """Return a notice that names the files of a folder that are no part of the series."""
    if order is Order.MAILS:
        return ()
    known = {*(listed or ()), *(port.folder.partition("/")[0] for port in ports)}
    left = sorted(
        p.name
        for p in folder.iterdir()
        if p.name not in ("series", "series.toml")
        and p.name not in known
        and not p.name.startswith(".")
        and (listed is None) != containers.is_patch_name(p.name)
    )
    if not left:
        return ()
    why = "not in the series file" if listed is not None else "not of a kind that is read"
    return (f"{some(left, 6)}: {why}, and not part of the series",)


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


def _read_text(path: Path) -> str:
    try:
        return containers.read_bytes(path).decode()
    except UnicodeDecodeError as e:
        raise UserError(f"{path.name} is not text in UTF-8: {e}", where=str(path)) from e


def _read_meta(path: Path) -> SeriesToml:
    table = toml.parse(_read_text(path), "series.toml", path) if path.is_file() else {}
    meta = toml.validate(SeriesToml, table, "series.toml", path)
    if meta.module and not paths.is_plain(meta.module.strip("/")):
        hint = "a folder of the tree, from its top: fs/overlayfs"
        raise UserError(f"not a module folder: {meta.module!r}", where=str(path), hint=hint)
    for condition in meta.applies_to:
        if not version.is_condition(condition):
            raise UserError(
                f"applies-to: no version of the kernel: {condition!r}",
                where=toml.place(path, ("applies-to",)),
                hint=f"write it as {version.FORMS}",
            )
    return meta


def _read_listing(listing: Path) -> dict[str, int | None]:
    """Return the names in a quilt series file in order, each with the ``-p`` that is given for it."""
    names: dict[str, int | None] = {}
    for number, raw in enumerate(_read_text(listing).removeprefix("\ufeff").splitlines(), 1):
        words = re.sub(r"(^|\s)#.*$", "", raw).split()
        if not words:
            continue
        where = f"{listing}:{number}"
        name, *options = words
        if name.startswith(("+", "-")) and options:
            raise UserError(
                f"guards such as {name} are not supported", where=where, hint="list what is to be applied"
            )
        strip = None
        for option in options:
            if option not in ("-p0", "-p1"):
                raise UserError(
                    f"{option} is not supported: patches are applied with -p0 or -p1", where=where
                )
            strip = int(option[2])
        if name.startswith("/") or ".." in name.split("/"):
            raise UserError(f"patch {name} lies outside the series' folder", where=where)
        if name in names:
            raise UserError(f"patch {name} is listed twice", where=where)
        names[name] = strip
    return names


# -- patches -----------------------------------------------------------------------------------------
def _load_items(items: list[Item], name: str, origin: str, order: Order = Order.MAILS) -> Series:
    """Return the series in a file, commits or a thread; without ``name`` it is named by its subject."""
    chosen = select(items, order, origin)
    if not chosen.patches:
        hint = "a patch is a mail with a diff, or a diff as git or diff -u make it"
        raise UserError("no message in it carries a patch", where=origin, hint=hint)
    first = chosen.cover or chosen.patches[0]
    return _series(name or _name_of(tag_of(first.subject).bare), chosen, origin, {}, by_name=False)


def _series(
    name: str, chosen: Selection, origin: str, strips: dict[str, int | None], *, by_name: bool
) -> Series:
    """Return the series of the chosen patches, which are named by their files or by their subjects."""
    numbered = [
        (one.name if by_name else _patch_name(number, one), one)
        for number, one in enumerate(chosen.patches, 1)
    ]
    with Pool(os.cpu_count()) as pool:
        patches: Sequence[Patch] = tuple(
            pool.map(lambda row: _patch(row[0], row[1], strips.get(row[1].name)), numbered)
        )
    head = chosen.cover or chosen.patches[0]
    summary = tag_of(chosen.cover.subject).bare if chosen.cover else ""
    if summary == _UNWRITTEN:
        summary = ""
    return Series(
        name=name,
        design="",
        summary=summary or f"{len(patches)} patch{'es' * (len(patches) != 1)} from {Path(origin).name}",
        module=None,
        applies_to=(),
        patches=tuple(patches),
        origin=origin,
        subject=head.subject,
        message_id=head.message_id,
        text=chosen.cover.text if chosen.cover else "",
        notices=chosen.notices,
    )


def _patch(name: str, item: Item, strip: int | None) -> Patch:
    made = read_patch(name, item.path, item.diff, where=item.where, strip=strip)
    return replace(made, text=item.message, subject=item.subject, author=item.author)


def _patch_name(number: int, item: Item) -> str:
    if not item.subject:
        return item.name
    words = re.sub(r"[^A-Za-z0-9._]+", "-", tag_of(item.subject).bare).strip("-.")
    return f"{number:04}-{words[:52] or 'patch'}.patch"


def of_patch(name: str, patch: str, diff: bytes, where: str) -> Series:
    """Return the series of one patch that git made, ``diff``; ``where`` says of what."""
    items = [Item(patch, Path(where), where, patch, diff=diff)]
    return _load_items(items, name, where, Order.LISTED)
