"""What the Docker SDK raises becomes an error of ours, and nothing else does."""

from __future__ import annotations

import pytest
from docker.errors import APIError, DockerException
from requests.exceptions import ConnectionError as NoConnection

from kmodpipe.build.runtime import docker_errors
from kmodpipe.util.errors import InfraError


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (DockerException("no \x1b[31mroom\nand more"), "no [31mroom"),
        (NoConnection(), "ConnectionError"),
        (APIError("x" * 1000), "x" * 300),
    ],
)
def test_an_error_of_the_sdk_is_one_line_of_ours(error: Exception, reason: str) -> None:
    with pytest.raises(InfraError) as caught, docker_errors.wrapped("it failed", where="there", hint="wait"):
        raise error
    assert (caught.value.what, caught.value.where, caught.value.hint) == (
        f"it failed: {docker_errors.visible_line(error)}",
        "there",
        "wait",
    )
    assert caught.value.__cause__ is error
    assert docker_errors.first_line(error).replace("\x1b", "") == reason
    with docker_errors.ignored():
        raise error


def test_other_errors_pass() -> None:
    for error in (KeyError("x"), OSError("disk"), InfraError("ours"), KeyboardInterrupt()):
        with (
            pytest.raises(type(error)) as caught,
            docker_errors.wrapped("it failed"),
            docker_errors.ignored(),
        ):
            raise error
        assert caught.value is error
