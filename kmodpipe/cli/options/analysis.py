"""The commands that ask more of a change than whether its cases pass."""

from __future__ import annotations

from dataclasses import dataclass

from kmodpipe.cli.option import Values, option
from kmodpipe.cli.options.cells import BuildOptions
from kmodpipe.cli.options.derived import JSON, JUNIT, OUTPUT

_NO_RUN = "the command runs no case"


@dataclass(frozen=True)
class CheckOptions(BuildOptions):
    """invoke check."""

    coccinelle: bool = option(
        False, "run the tree's semantic patches (coccicheck) as well, which takes minutes", exempt=_NO_RUN
    )
    annotate: str = option(
        "",
        "print each finding as an annotation for github, or none; by default as the environment says",
        exempt=OUTPUT,
        of=Values.ANNOTATION,
    )
    sarif: str = option("", "write the SARIF file here as well", exempt=OUTPUT, path=True)
    code_quality: str = option(
        "", "write the code quality file for GitLab here as well", exempt=OUTPUT, path=True
    )
    junit: str = option("", JUNIT, exempt=OUTPUT, path=True)
    json: bool = option(False, JSON, exempt=OUTPUT)
