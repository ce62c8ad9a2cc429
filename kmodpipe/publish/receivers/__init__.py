"""The kinds of receiver: one module each, with the name that a declaration gives as its ``kind``.

A new kind is a new file in this folder, with one subclass of `base.Receiver` in it. In: the tables
``[tool.kmodpipe.receivers.NAME]``. Out: `Receiver` objects.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from pathlib import Path

from kmodpipe.publish import template
from kmodpipe.publish.receivers.base import Receiver
from kmodpipe.util import toml
from kmodpipe.util.errors import UserError

_NAME = "abcdefghijklmnopqrstuvwxyz0123456789-"
_PLACES = ("token-env", "token-file")


def kinds() -> tuple[str, ...]:
    """Return the names of all kinds of receiver."""
    return tuple(sorted(m.name for m in pkgutil.iter_modules(__path__) if m.name != "base"))


def class_of(kind: str) -> type[Receiver]:
    """Return the class of a kind. Its module is imported only now, if it is declared."""
    module = importlib.import_module(f"{__name__}.{kind}")
    (found,) = (
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Receiver) and value.__module__ == module.__name__
    )
    return found


def parse(
    tables: Mapping[str, Mapping[str, object]], path: Path, at: tuple[str, ...] = ("tool", "kmodpipe")
) -> Mapping[str, Receiver]:
    """Return the receivers declared in the file *path*, in the table ``receivers`` of its table *at*.

    Raise UserError with no value of the tables in it: the one that is wrong may be a token.
    """
    return {name: _receiver(name, table, path, (*at, "receivers", name)) for name, table in tables.items()}


def _receiver(name: str, table: Mapping[str, object], path: Path, at: tuple[str, ...]) -> Receiver:
    section = f"[{'.'.join(at)}]"
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
    if not isinstance(kind, str) or kind not in kinds():
        raise UserError(
            f"{section} has no kind that is known",
            where=str(path),
            hint=f"kind = one of: {', '.join(kinds())}",
        )
    return toml.validate(class_of(kind), {"name": name, **table}, section, path, at=at)
