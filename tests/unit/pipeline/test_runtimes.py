"""A command that counted on an image which is gone begins again, and only then."""

from __future__ import annotations

import pytest

from kmodpipe.build.runtime import ImageGone, Unready
from kmodpipe.pipeline.runtimes import again_if_gone
from kmodpipe.util import process
from kmodpipe.util.errors import KmodpipeError
from kmodpipe.util.screen import Mode, Screen
from kmodpipe.util.workers import workers


class Command:
    """Runs a program in a pool of workers, as a run does; the first ``times`` times the image is gone."""

    def __init__(self, times: int, error: type[KmodpipeError] = ImageGone) -> None:
        self.left, self.error = times, error
        self.began = 0

    def __call__(self) -> str:
        self.began += 1
        with workers(2) as pool:
            return pool.submit(self._work).result()

    def _work(self) -> str:
        if self.left:
            self.left -= 1
            raise self.error("there is no such image")
        return process.run(["echo", "here"], timeout_s=10).text.strip()


@pytest.mark.parametrize("times", [0, 1])
def test_a_command_whose_image_is_gone_begins_again(times: int) -> None:
    command = Command(times)
    with process.Children().collecting():
        assert again_if_gone(command, Screen(Mode.PLAIN)) == "here"
        assert command.began == times + 1 and not process.stopping()


def test_it_begins_again_once() -> None:
    command = Command(2)
    with process.Children().collecting(), pytest.raises(ImageGone):
        again_if_gone(command, Screen(Mode.PLAIN))
    assert command.began == 2


@pytest.mark.parametrize("error", [Unready, KmodpipeError])
def test_after_another_error_it_does_not(error: type[KmodpipeError]) -> None:
    command = Command(1, error)
    with process.Children().collecting(), pytest.raises(error):
        again_if_gone(command, Screen(Mode.PLAIN))
    assert command.began == 1
