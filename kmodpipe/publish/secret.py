"""A receiver's token: read when it is needed, from the environment or a file, and never written anywhere.

A `Secret` shows as ``(secret)`` in every log, traceback and dataclass. `Secret.scrub` removes it from text
that came from outside, such as a server's answer, before that is shown or stored.
"""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

from kmodpipe.util.errors import UserError

_MOST = 16 * 1024


class Secret:
    """A token. Only `reveal` returns its value."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Return the token itself."""
        return self._value

    def scrub(self, text: str) -> str:
        """Return *text* with the token, plain or escaped as in JSON and URLs, replaced by ``(secret)``."""
        from urllib.parse import quote

        for form in (self._value, quote(self._value, safe=""), self._value.replace("/", "\\/")):
            text = text.replace(form, "(secret)")
        return text

    def __repr__(self) -> str:
        return "(secret)"

    def __reduce__(self) -> tuple[object, ...]:
        raise TypeError("a secret is not stored")


def read(receiver: str, *, env: str, file: str, root: Path) -> Secret | None:
    """Return the token of a receiver from the variable *env* or the file *file*; None if both are empty.

    *file* is relative to *root*. Raise UserError, never with the token in it.
    """
    where = f"[tool.kmodpipe.receivers.{receiver}]"
    if env:
        value = os.environ.get(env, "").strip()
        if not value:
            raise UserError(
                f"the token of {receiver} is not there: the variable {env} is not set or empty",
                where=where,
                hint=f"in CI make {env} a masked variable; in a shell: read -rs {env} && export {env}",
            )
        return _checked(value, f"the variable {env}", where)
    if file:
        path = root / Path(file).expanduser()
        return _checked(_from_file(receiver, path), str(path), where)
    return None


def _from_file(receiver: str, path: Path) -> str:
    try:
        with path.open("rb") as f:
            mode = os.fstat(f.fileno()).st_mode
            if stat.S_ISREG(mode) and mode & 0o077:
                raise UserError(
                    f"the token of {receiver} is in a file that others may use: mode {mode & 0o7777:04o}",
                    where=str(path),
                    hint=f"chmod 600 {path}; if others may have read it, get a new token",
                )
            raw = f.read(_MOST + 1)
    except OSError as e:
        raise UserError(
            f"the token of {receiver} cannot be read: {e.strerror}",
            where=str(path),
            hint="put the token alone into that file, readable only by you (mode 600)",
        ) from None
    return raw.decode("utf-8", "replace").strip() if len(raw) <= _MOST else ""


def _checked(value: str, source: str, where: str) -> Secret:
    """Return the token. Raise UserError if it is not one word of visible ASCII, as a header needs.

    An HTTP library would refuse such a header too, with the value in its message.
    """
    if not re.fullmatch(r"[!-~]{1,8192}", value) or '"' in value:
        raise UserError(
            f"what is in {source} is no token: one word of visible ASCII characters was expected",
            where=where,
            hint="only the token itself, without quotes, a header's name or a second line",
        )
    return Secret(value)
