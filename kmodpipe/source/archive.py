"""Unpack an untrusted source archive: strip its top folder, and refuse links that lead out of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import IO

from kmodpipe.util import os_errors, paths, untar
from kmodpipe.util.errors import UserError
from kmodpipe.util.untar import Limits


def unpack(
    stream: IO[bytes],
    target: Path,
    *,
    what: str,
    packed: int | None = None,
    limits: Limits | None = None,
    on_count: Callable[[int], None] | None = None,
) -> None:
    """Unpack the tar in ``stream`` (plain, gz, bz2 or xz) into the empty folder ``target``.

    A single top folder is stripped. ``what`` names the archive in messages, ``packed`` is its size in bytes
    if known, and ``on_count`` is called now and then with the number of members unpacked.

    Raise UserError for a damaged or truncated archive, and for a member (which it names) that leads out of
    ``target``, is no file, folder or link, or exceeds ``limits``.
    """
    try:
        content = untar.extract(stream, target, what=what, packed=packed, limits=limits, on_count=on_count)
        if not content.members:
            raise UserError("the archive is empty", where=what)
        _finish(target, content)
    except untar.Refused as e:
        hint = "a source archive holds files, folders, and links that stay in it"
        raise UserError(f"the archive is not safe to unpack: {e}", where=what, hint=hint) from e
    except untar.Damaged as e:
        hint = "is it a .tar, .tar.gz, .tar.bz2 or .tar.xz, and complete?"
        raise UserError(f"the archive is damaged or cut short: {e}", where=what, hint=hint) from e
    except OSError as e:
        raise os_errors.explain(e, (target,)) or os_errors.failed("could not unpack", e, what) from e


def _finish(root: Path, content: untar.Content) -> None:
    """Make the links, which must not lead out of the final top folder, and strip a single top folder."""
    tops = {n.partition("/")[0] for n in (*content.files, *content.links, *content.folders)}
    top = next(iter(tops)) if len(tops) == 1 and tops <= content.folders.keys() else None
    prefix = f"{top}/" if top else ""
    links = {name.removeprefix(prefix): target for name, target in content.links.items()}
    if found := paths.escaping_link(links):
        raise untar.Refused(prefix + found[0], f"is a link out of the tree, to {found[1][:200]!r}")
    untar.make_links(root, content.links)
    if top:
        # Renamed first: the top folder may contain an entry of its own name.
        aside = root / ".kmodpipe-top"
        (root / top).rename(aside)
        for entry in list(aside.iterdir()):
            entry.rename(root / entry.name)
        aside.rmdir()


__all__ = ["Limits", "unpack"]
