"""What the Docker SDK raises, turned into our errors.

The SDK is imported when a call fails: most commands never need it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from kmodpipe.util.errors import InfraError
from kmodpipe.util.text import visible


def sdk_errors(*others: type[Exception]) -> tuple[type[Exception], ...]:
    """The exceptions of the SDK, those of the HTTP library that it lets through, and ``others``."""
    from docker.errors import DockerException
    from requests.exceptions import RequestException

    return DockerException, RequestException, *others


def first_line(error: Exception) -> str:
    """The beginning of what an exception says, or its type where it says nothing."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]


def type_name(error: Exception) -> str:
    return type(error).__name__


def visible_line(error: Exception) -> str:
    return visible(first_line(error))


@contextmanager
def wrapped(
    what: str, *, where: str = "", hint: str = "", reason: Callable[[Exception], str] = visible_line
) -> Iterator[None]:
    """Raise what the SDK raises in the block as InfraError: ``what``, a colon, and the reason."""
    try:
        yield
    except sdk_errors() as e:
        raise InfraError(f"{what}: {reason(e)}", where=where, hint=hint) from e


@contextmanager
def ignored() -> Iterator[None]:
    """Leave the block where the SDK raises: for what is tried, and does no harm if it fails."""
    try:
        yield
    except sdk_errors():
        pass
