"""The reference pages of the program itself: commands and options, environment, exit codes, the event log.

They are made of what the program is made of: the groups of options, the functions' docstrings, the codes.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from kmodpipe.cli import commands
from kmodpipe.cli.option import Option, Values
from kmodpipe.cli.options import COMMANDS, VERBS, Common, options_of
from kmodpipe.util.errors import ExitCode


@dataclass(frozen=True)
class Variable:
    """A variable of the environment."""

    name: str
    # What it does, and what holds without it.
    text: str
    # Where its subject is described, below docs/.
    page: str = ""


VARIABLES = (
    Variable("KMODPIPE_CACHE", "The folder for trees, kernels and all that was built; without it "
             "`$XDG_CACHE_HOME/kmodpipe`, else `~/.cache/kmodpipe`. A local file system, mounted with exec.",
             "files.md"),
    Variable("KMODPIPE_DEBIAN_MIRROR", "The address of a mirror of Debian's archive, on a machine whose apt "
             "has none. On Debian it is apt's own.", "modules.md"),
    Variable("KMODPIPE_UBUNTU_MIRROR", "The same for Ubuntu's archive.", "modules.md"),
    Variable("KMODPIPE_SHARE", "A registry's repository, or `file:///FOLDER`, to share what was built; "
             "before `share` of the project.", "ci/README.md#a-registry-for-what-is-costly-to-build"),
    Variable("KMODPIPE_SHARE_KEY", "A secret of the machines that share: what it did not seal is not used."),
    Variable("KMODPIPE_SHARE_KEY_FILE", "A file with that secret."),
    Variable("KMODPIPE_SHARE_USER", "The registry's user; without it what `docker login` wrote down."),
    Variable("KMODPIPE_SHARE_PASSWORD", "That user's password."),
    Variable("KMODPIPE_SHARE_READONLY", "`1`: take from the registry, push nothing."),
    Variable("KMODPIPE_SHARE_IMAGE", "`0`: do not push the builder image."),
    Variable("DOCKER_HOST", "The engine, as for `docker`; so are contexts. It has to be on this machine."),
    Variable("XDG_STATE_HOME", "Its `kmodpipe/outbox` has what could not be published yet; without it "
             "`~/.local/state`.", "publish.md"),
    Variable("NO_COLOR", "No colours on the screen."),
    Variable("GITHUB_ACTIONS", "Set: `check` prints findings as annotations.", "checks.md"),
    Variable("GITHUB_STEP_SUMMARY", "A file: `test` and `ci` append a summary.", "reports.md"),
)  # fmt: skip

_CODES: Mapping[ExitCode, str] = {
    ExitCode.OK: "all as expected",
    ExitCode.FAILURE: "a kernel or test failure: a case is not as expected, a module does not build, "
    "a kernel reports a bug",
    ExitCode.USAGE: "usage: a wrong word, name, file or field; nothing was tested",
    ExitCode.INFRA: "infrastructure: something has no verdict. A machine, a network, an interruption, "
    "a program that the guest lacks",
}
_EVENTS = (
    ("start", "`step`", "a step begins"),
    ("end", "`step`, `outcome`, `seconds`", "it has ended: `made (changed: source)`, `2 as expected`"),
    ("progress", "`text`", "how far the run is: `1 of 2 cells, 2 of 4 results`"),
    ("say", "`text`", "a sentence for the reader"),
    ("warning", "`text`, `hint`", "one that should be read"),
    ("error", "`kind`, `text`", "what ended the run: the class of the error, what, where and a hint"),
    ("costs", "by part of the command: `seconds`, `own_cpu_s`, `times`", "the last one: where the time went"),
)  # fmt: skip


def pages(made_by: str) -> Mapping[str, str]:
    """Return the text of each page by its path below docs/."""
    end = f"\n\nMade by `{made_by}`: do not edit.\n"
    return {
        "reference/commands.md": "\n".join(_commands()) + end,
        "reference/environment.md": "\n".join(_environment()) + end,
        "reference/exit-codes.md": "\n".join(_exit_codes()) + end,
        "reference/events.md": "\n".join(_events()) + end,
    }


# -- commands ---------------------------------------------------------------------------------------
def _commands() -> Iterator[str]:
    yield from (
        "# Commands and options", "",
        "    kmodpipe test -h        # this page, of one command", "",
        "`kmodpipe COMMAND` and, where a `tasks.py` has them, `invoke COMMAND` are the same. An option that "
        "may be repeated has a + behind its value.", "",
        "| command | what it does |", "|---|---|",
    )  # fmt: skip
    for name in COMMANDS:
        yield f"| [`{name}`](#{name}) | {_first(name)} |"
    yield ""
    yield from _section("every command", Common, options_of(Common))
    common = {one.name for one in options_of(Common)}
    for name, group in COMMANDS.items():
        own = tuple(one for one in options_of(group) if one.name not in common)
        yield from _section(name, group, own)


def _section(name: str, group: type[Common], found: tuple[Option, ...]) -> Iterator[str]:
    yield from (f"## {name}", "")
    if name in COMMANDS:
        yield from (inspect.cleandoc(commands.of(name).__doc__ or ""), "")
    if verb := VERBS.get(name):
        yield from (f"`kmodpipe {name} {verb}` is the same.", "")
    if found:
        yield from ("| option | what it does |", "|---|---|", *(_row(one) for one in found), "")


def _first(name: str) -> str:
    return inspect.cleandoc(commands.of(name).__doc__ or "").splitlines()[0]


def _row(one: Option) -> str:
    short = f"`-{one.short}`, " if one.short else ""
    value = "" if one.values is Values.FLAG else f" {one.values.value}{'+' if one.repeatable else ''}"
    value = value.replace("|", "\\|")
    default = f" (default: `{one.default}`)" if one.default and one.default is not True else ""
    return f"| {short}`{one.flag}{value}` | {one.help}{default} |".replace("<", "&lt;")


# -- the others -------------------------------------------------------------------------------------
def _environment() -> Iterator[str]:
    yield from (
        "# Environment", "", "    KMODPIPE_CACHE=/srv/kmodpipe kmodpipe test", "",
        "All of these may be left out. What a case's script finds in *its* environment is in "
        "[cases](../cases.md#the-scripts-surroundings).", "",
        "| variable | what it does |", "|---|---|",
    )  # fmt: skip
    for one in VARIABLES:
        about = one.page.partition("#")[0].removesuffix("/README.md").removesuffix(".md")
        more = f" More: [{about}](../{one.page})." if about else ""
        yield f"| `{one.name}` | {one.text}{more} |"


def _exit_codes() -> Iterator[str]:
    yield from (
        "# Exit codes", "", '    kmodpipe test --series my-fix; echo "$?"', "",
        "| code | meaning |", "|---|---|",
    )  # fmt: skip
    for code, text in _CODES.items():
        yield f"| {int(code)} | {text} |"
    yield from (
        "", "A failure beside something without a verdict is 1. A run that is interrupted (Ctrl-C, SIGTERM, "
        "a closed terminal) is 3, with its results written. Some commands say more of theirs:", "",
    )  # fmt: skip
    for name in COMMANDS:
        text = " ".join(inspect.cleandoc(commands.of(name).__doc__ or "").split())
        if "Exit code" in text:
            said = "Exit code" + text.partition("Exit code")[2]
            yield f"- [`{name}`](commands.md#{name}): {said}"


def _events() -> Iterator[str]:
    yield from (
        "# events.jsonl", "",
        '    {"time": 1795975784.414, "event": "end", "step": "module x", "outcome": "made", "seconds": 2.5}',
        "",
        "What the screen showed of a run, one JSON object a line, in its folder from the first moment. "
        "Each has `time`, seconds since 1970, and `event`:", "",
        "| event | further fields | what it is |", "|---|---|---|",
    )  # fmt: skip
    for name, fields, text in _EVENTS:
        yield f"| `{name}` | {fields} | {text} |"
    yield from (
        "", "A later kmodpipe may add events and fields. A verdict is read from [results.json](results.md), "
        "or, while the run goes on, from `cells.jsonl`.",
    )  # fmt: skip
