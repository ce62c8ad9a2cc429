"""The options of `bisect`."""

from __future__ import annotations

from dataclasses import dataclass

from kmodpipe.cli.option import Values, option
from kmodpipe.cli.options.cells import BuildOptions
from kmodpipe.cli.options.derived import JSON, OUTPUT

_ANSWER = "its answer is about two ends, and no run is compared with it"


@dataclass(frozen=True)
class BisectOptions(BuildOptions):
    """invoke bisect."""

    case: tuple[str, ...] = option(
        (),
        "the case, or a script of your own by its path; needed if several differ between the ends",
        exempt=_ANSWER, short="c", of=Values.CASE,
    )  # fmt: skip
    good_config: str = option(
        "", "search the symbols in which two configurations differ: the good .config, or a fragment",
        exempt=_ANSWER, path=True,
    )  # fmt: skip
    bad_config: str = option("", "the bad one of the two", exempt=_ANSWER, path=True)
    repeat: int = option(
        1, "of a case that is flaky: run it so many times in each state, and more until it is clear",
        exempt=_ANSWER,
    )  # fmt: skip
    confidence: str = option("0.99", "with --repeat: how probable the answer has to be", exempt=_ANSWER)
    json: bool = option(False, JSON, exempt=OUTPUT)
