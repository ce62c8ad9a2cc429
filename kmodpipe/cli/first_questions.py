"""Begin a project, for `init`: what was found, questions with that as the answer, and the files."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from kmodpipe.cli.invocation import Invocation
from kmodpipe.cli.options import InitOptions
from kmodpipe.cli.project_root import project_above
from kmodpipe.pipeline import config, first_ci, first_look, first_project
from kmodpipe.pipeline.first_look import FoundModule, Look
from kmodpipe.pipeline.first_project import Choice, Proposal
from kmodpipe.source import distribution
from kmodpipe.source.packaged import PackagedKernelSpec
from kmodpipe.util import paths
from kmodpipe.util.errors import UserError, unknown_name
from kmodpipe.util.screen import Screen
from kmodpipe.util.text import some

_UNWRITTEN = "nothing was written"


def begin(options: InitOptions, call: Invocation) -> None:
    """Look at the current folder, ask unless ``--yes`` is given, and write the files of a project.

    Raise UserError if there is a project already, or without an answer.
    """
    root, screen = Path.cwd(), call.screen
    if options.ci and options.ci not in first_ci.CI:
        raise unknown_name("CI", options.ci, first_ci.CI, where="--ci")
    first_project.require_new(root)
    seen = first_look.look(root)
    choice = first_project.choose(seen, options.ci)
    several = f"modules in {some([one.folder for one in seen.modules], 4)}" if len(seen.modules) > 1 else ""
    screen.print(f"found: {several or first_project.propose(root, seen, choice).found}")
    if not options.yes:
        if not sys.stdin.isatty():
            raise UserError(_UNWRITTEN, hint="--yes takes what was found, and asks nothing")
        choice = _asked(seen, choice, screen, ask_ci=not options.ci)
    made = first_project.propose(root, seen, choice)
    for name in made.files:
        screen.print(f"  {name}{' (is there, and left as it is)' if paths.exists(root / name) else ''}")
    if not options.yes and _answer(screen, "write these files?", "yes").lower() not in ("y", "yes"):
        raise UserError(_UNWRITTEN)
    first_project.write(root, made)
    _tell(made, root, call)


def _tell(made: Proposal, root: Path, call: Invocation) -> None:
    """Print what the user has to know, and what to run next."""
    for note in made.notes:
        call.screen.print(f"note: {note}")
    if above := project_above(root.parent):
        call.screen.print(f"note: the project above, in {above}, is not used in this folder any more")
    call.screen.print("written; what to run next:")
    width = max(len(command) for command in made.next)
    for command, what in made.next.items():
        call.screen.print(f"  {call.program} {command:<{width}}  {what}")


# -- questions ----------------------------------------------------------------------------------------------
def _asked(seen: Look, choice: Choice, screen: Screen, *, ask_ci: bool) -> Choice:
    """Return what the user answers; an empty line is what was found."""
    if len(seen.modules) > 1:
        choice = replace(choice, module=_module(seen, screen))
    if choice.kind == "module":
        choice = replace(choice, kernels=_kernels(choice.kernels, screen))
        choice = replace(choice, cases=_valid(screen, "the folder of cases?", choice.cases, _folder))
    if ask_ci:
        question = f"a file for which CI? ({', '.join(first_ci.CI)})"
        choice = replace(choice, ci=_valid(screen, question, choice.ci, _ci))
    return choice


def _answer(screen: Screen, question: str, default: str) -> str:
    """Return the answer to a question. Raise UserError if there is none, only the end of the input."""
    answer = screen.ask(question, default)
    if answer is None:
        raise UserError(_UNWRITTEN, hint="--yes takes what was found, and asks nothing")
    return answer


def _valid(screen: Screen, question: str, default: str, check: Callable[[str], str]) -> str:
    """Ask until the answer has nothing wrong that ``check`` returns."""
    while wrong := check(answer := _answer(screen, question, default)):
        screen.print(wrong)
    return answer


def _module(seen: Look, screen: Screen) -> FoundModule:
    for number, one in enumerate(seen.modules, 1):
        screen.print(f"  {number}  {one.folder}: {some(one.names, 4)}")

    def check(answer: str) -> str:
        fits = answer.isdecimal() and 1 <= int(answer) <= len(seen.modules)
        return "" if fits else f"a number from 1 to {len(seen.modules)}"

    return seen.modules[int(_valid(screen, "which of them is tested?", "1", check)) - 1]


def _kernels(default: tuple[str, ...], screen: Screen) -> tuple[str, ...]:
    known = config.ready_kernels()
    packaged = {name: one for name, one in known.items() if isinstance(one, PackagedKernelSpec)}
    for whose in distribution.ALL:
        names = [name for name in packaged if (at := packaged[name].apt_source) and at.distribution == whose]
        more = "" if whose is distribution.DEBIAN else ", where its archive is configured"
        screen.print(f"kernels as {whose.name} ships them{more}: {', '.join(names)}")
    screen.print(f"kernels that are built first: {', '.join(name for name in known if name not in packaged)}")

    def check(answer: str) -> str:
        unknown = [name for name in answer.replace(",", " ").split() if name not in known]
        return str(unknown_name("kernel", unknown[0], known)) if unknown else ""

    answer = _valid(screen, "which of them?", " ".join(default), check)
    return tuple(dict.fromkeys(answer.replace(",", " ").split()))


def _folder(answer: str) -> str:
    return "" if paths.is_plain(answer.rstrip("/")) else "a folder in this one, such as tests/kmodpipe"


def _ci(answer: str) -> str:
    return "" if answer in first_ci.CI else f"one of {', '.join(first_ci.CI)}"
