"""The receivers that pyproject.toml declares, as records."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from kmodpipe.publish import template
from kmodpipe.publish.receivers.base import Receiver
from kmodpipe.publish.receivers.buildkite import BuildkiteReceiver
from kmodpipe.publish.receivers.http import HttpReceiver
from kmodpipe.publish.receivers.kcidb import KcidbReceiver
from kmodpipe.publish.receivers.squad import SquadReceiver
from kmodpipe.util import toml
from kmodpipe.util.errors import UserError

KINDS: Mapping[str, type[Receiver]] = {
    "http": HttpReceiver,
    "squad": SquadReceiver,
    "kcidb": KcidbReceiver,
    "buildkite": BuildkiteReceiver,
}
_NAME = "abcdefghijklmnopqrstuvwxyz0123456789-"
_PLACES = ("token-env", "token-file")


def parse(tables: Mapping[str, Mapping[str, object]], path: Path) -> Mapping[str, Receiver]:
    """The receivers of ``[tool.kmodpipe.receivers]``. Raises UserError, in which no value stands: the one
    that is wrong may be a token."""
    return {name: _receiver(name, table, path) for name, table in tables.items()}


def _receiver(name: str, table: Mapping[str, object], path: Path) -> Receiver:
    section = f"[tool.kmodpipe.receivers.{name}]"
    if not name.strip("-") or name.strip(_NAME) or len(name) > 60 or name.startswith("-"):
        raise UserError("a receiver's name takes small letters, digits and -", where=f"{path}: {section}")
    for key in table:
        if (
            key.replace("_", "-") not in _PLACES
            and not key.startswith("token-")
            and template.is_secret_word(key)
        ):
            raise UserError(
                f"{section} holds a secret: {key}",
                where=str(path),
                hint="take it out, have a new one made if others can read this file, and name the place of "
                'the token: token-env = "VARIABLE" or token-file = "PATH"',
            )
    kind = table.get("kind")
    if not isinstance(kind, str) or kind not in KINDS:
        raise UserError(
            f"{section} has no kind that is known", where=str(path), hint=f"kind = one of: {', '.join(KINDS)}"
        )
    return toml.validate(KINDS[kind], {"name": name, **table}, section, path)
