"""Turn exceptions of the Docker SDK into our errors.

The SDK is imported only when a call fails: most commands do not need it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from kmodpipe.util.errors import InfraError
from kmodpipe.util.text import visible

_LONGEST = 300


def sdk_errors(*others: type[Exception]) -> tuple[type[Exception], ...]:
    """Return the exceptions of the SDK, those of the HTTP library that it uses, and ``others``."""
    from docker.errors import DockerException
    from requests.exceptions import RequestException

    return DockerException, RequestException, *others


def first_line(error: Exception) -> str:
    """Return the first line of an exception's message, or its type if it has none.

    Of an answer of the engine it is what the engine says, without the address of the request.
    """
    if said := str(getattr(error, "explanation", None) or "").strip():
        line = said.splitlines()[0]
        # The cause is at the end: "preparing container …: runc create failed: …".
        return line if len(line) <= _LONGEST else f"{line[: _LONGEST // 2]} … {line[-_LONGEST // 2 :]}"
    return (str(error).strip() or type(error).__name__).splitlines()[0][:_LONGEST]


def type_name(error: Exception) -> str:
    return type(error).__name__


def visible_line(error: Exception) -> str:
    return visible(first_line(error))


@contextmanager
def wrapped(
    what: str, *, where: str = "", hint: str = "", reason: Callable[[Exception], str] = visible_line
) -> Iterator[None]:
    """Raise an exception of the SDK in the block as InfraError: ``what``, a colon, and the reason."""
    try:
        yield
    except sdk_errors() as e:
        raise InfraError(f"{what}: {reason(e)}", where=where, hint=hint) from e


@contextmanager
def ignored() -> Iterator[None]:
    """Suppress exceptions of the SDK in the block."""
    try:
        yield
    except sdk_errors():
        pass
