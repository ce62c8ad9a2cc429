"""Complete the words of a command line in bash, zsh and fish: options, cells, cases, series, trees …

A shell calls `kmodpipe --complete SHELL …` at each press of Tab, and shows one candidate a line; without any
it offers files. So this reads the project's files with `tomllib` alone, without the checks that a command
makes, and whatever goes wrong leads to no candidates and no message.
"""

from __future__ import annotations

import itertools
import re
import sys
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from kmodpipe.cli.options import COMMANDS, VERBS, Common, Option, Values, forms_of, options_of
from kmodpipe.cli.project_root import find_root
from kmodpipe.util import shipped
from kmodpipe.util.cell_id import cell_id, kernel_name

RUNTIMES = ("docker", "host")
PLAN_FORMS = ("json", "gitlab", "github")
EDIT_KINDS = ("hunk", "condition", "error", "constant", "call")
REPORT_FORMS = ("findings", "text", "markdown", "mail", "summary", "support", "badge")
CHANGES = ("new", "flaky", "lost", "skipped", "changed", "slower", "vanished")
SHELLS = ("bash", "zsh", "fish")
_CONTROL = "unpatched"
_MOST = 2000

_SCRIPTS = {
    # Bash replaces only what follows the last character that breaks words, which "=" in a cell's id is.
    "bash": """\
# Completion of PROGRAM for bash: eval "$(PROGRAM --print-completion-script bash)"
_PROGRAM() {
    local word
    COMPREPLY=()
    while IFS= read -r word; do
        COMPREPLY+=("$word")
    done < <("${1/#\\~/$HOME}" --complete bash "$COMP_WORDBREAKS" "${COMP_LINE:0:COMP_POINT}" 2>/dev/null)
    if [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *= ]]; then
        compopt -o nospace
    fi
}
complete -o default -F _PROGRAM PROGRAM
""",
    "zsh": """\
#compdef PROGRAM
# Completion of PROGRAM for zsh, behind compinit: eval "$(PROGRAM --print-completion-script zsh)"
_PROGRAM() {
    local -a found
    found=(${(f)"$(${~words[1]} --complete zsh "${(@Q)words[2,CURRENT-1]}" "${(Q)PREFIX}" 2>/dev/null)"})
    if (( ${#found} )); then
        compadd -- "${found[@]}"
    else
        _files
    fi
}
compdef _PROGRAM PROGRAM
""",
    "fish": """\
# Completion of PROGRAM for fish: PROGRAM --print-completion-script fish | source
function __PROGRAM_complete
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    set -l found (eval (string escape -n -- $words[1]) --complete fish -- \\
        (string escape -- $words[2..-1] "$current") 2>/dev/null)
    if test (count $found) -gt 0
        printf '%s\\n' $found
    else
        __fish_complete_path "$current"
    end
end
complete -c PROGRAM -f -a '(__PROGRAM_complete)'
""",
}


def script(shell: str, program: str) -> str:
    """Return what a shell has to read so that it completes the words of ``program``."""
    return _SCRIPTS[shell].replace("PROGRAM", program)


def answer(asked: Sequence[str]) -> None:
    """Print the candidates for ``asked``: a shell's name, and the words so far, the last one unfinished.

    Bash gives the characters that break words, and the line as it was typed.
    """
    with suppress(Exception):
        shell, *words = asked
        breaks = ""
        if shell == "bash":
            breaks, line = words
            words = _split(line)[1:]
        elif words[:1] == ["--"]:
            words = words[1:]
        found = list(itertools.islice(candidates(words or [""], Path.cwd()), _MOST))
        current = words[-1] if words else ""
        cut = max((current.rfind(c) for c in breaks if c in "=:@"), default=-1) + 1
        lines = [f"{word[cut:]}\t{text}" if shell == "fish" and text else word[cut:] for word, text in found]
        sys.stdout.write("".join(f"{line}\n" for line in lines))


def _split(line: str) -> list[str]:
    """Return the words of a line that may end inside quotes; the last one is empty behind a space."""
    words, word, quote, escaped = [], "", "", False
    for c in line:
        if escaped:
            word, escaped = word + c, False
        elif c == "\\" and quote != "'":
            escaped = True
        elif c == quote:
            quote = ""
        elif c in "'\"" and not quote:
            quote = c
        elif c.isspace() and not quote:
            words += [word] if word else []
            word = ""
        else:
            word += c
    return [*words, word]


Candidate = tuple[str, str]
"""A word, and what it means or ''."""


def candidates(words: Sequence[str], folder: Path) -> Iterator[Candidate]:
    """Yield what the last of ``words`` may become, for the project in or above ``folder``."""
    *before, current = words
    at, command = next(((n, w) for n, w in enumerate(before) if w in COMMANDS), (0, ""))
    if not command:
        early = ("--help", "--version", "--print-completion-script")
        if before[-1:] == [early[-1]]:
            yield from _starting(SHELLS, current)
        elif current.startswith("-"):
            yield from _starting(early, current)
        else:
            yield from _starting(COMMANDS, current)
        return
    known = forms_of(COMMANDS[command])
    given = _given(before[at + 1 :], known)
    name, equals, value = current.partition("=")
    last = known.get(before[-1])
    if last and last.values is not Values.FLAG:
        yield from _starting(_names(last, given, folder), current)
    elif equals and name in known:
        for word, text in _starting(_names(known[name], given, folder), value):
            yield f"{name}={word}", text
    else:
        if before[-1] == command and command in VERBS:
            yield from _starting((VERBS[command],), current)
        if not current or current.startswith("-"):
            yield from _options(COMMANDS[command], given, current)


def _options(group: type[Common], given: Mapping[str, Sequence[str]], current: str) -> Iterator[Candidate]:
    for one in options_of(group):
        if one.flag.startswith(current) and (one.repeatable or one.name not in given):
            yield one.flag, one.help
    if "--help".startswith(current):
        yield "--help", "print what the command does and takes"


def _given(words: Sequence[str], known: Mapping[str, Option]) -> dict[str, list[str]]:
    """Return the options that were typed so far, with their values, by name."""
    found: dict[str, list[str]] = {}
    rest = list(words)
    while rest:
        name, equals, value = rest.pop(0).partition("=")
        if one := known.get(name):
            if one.values is not Values.FLAG and not equals:
                value = rest.pop(0) if rest else ""
            found.setdefault(one.name, []).append(value)
    return found


def _starting(names: Iterable[str], start: str) -> Iterator[Candidate]:
    for name in names:
        if name.startswith(start):
            yield name, ""


# -- names --------------------------------------------------------------------------------------------
def _names(one: Option, given: Mapping[str, Sequence[str]], folder: Path) -> Iterable[str]:
    """Return the values of an option that the project knows."""
    project = _Project(find_root(folder), given)
    known: Mapping[Values, Callable[[], Iterable[str]]] = {
        Values.CELL: project.cells,
        Values.CASE: project.cases,
        Values.SERIES: project.series,
        Values.MODULE: project.modules,
        Values.TREE: project.trees,
        Values.FLAVOUR: project.flavours,
        Values.RUN: project.runs,
        Values.AGAINST: lambda: [*project.run_ids(), *(f"series:{name}" for name in project.series())],
        Values.RECEIVER: project.receivers,
        Values.RUNTIME: lambda: RUNTIMES,
        Values.PLAN_FORM: lambda: PLAN_FORMS,
        Values.ANNOTATION: lambda: ("github", "none"),
        Values.CI_NAME: lambda: (*PLAN_FORMS[1:], "none"),
        Values.REPORT_FORM: lambda: REPORT_FORMS,
        Values.CHANGE: lambda: CHANGES,
        Values.SEED: lambda: ("random",),
        Values.SHARE: lambda: ("none",),
        Values.EDIT_KIND: lambda: EDIT_KINDS,
    }
    return known.get(one.values, tuple)()


class _Project:
    """What a project declares, as far as its files can be read."""

    def __init__(self, root: Path, given: Mapping[str, Sequence[str]]) -> None:
        self._root = root
        self._given = given
        own = _toml(root / "kmodpipe.toml")
        self._table: Mapping[str, Any] = own or _toml(root / "pyproject.toml").get("tool", {}).get(
            "kmodpipe", {}
        )

    def trees(self) -> Iterable[str]:
        return [
            name
            for kind in ("trees", "kernels")
            for table in self._declared()
            for name in table.get(kind, {})
        ]

    def _declared(self) -> tuple[Mapping[str, Any], ...]:
        """Return the tables that declare kernels: the project's, and the package's."""
        return self._table, _toml(shipped.folder("kconfigs") / "kernels.toml")

    def receivers(self) -> Iterable[str]:
        return list(self._table.get("receivers", {}))

    def series(self) -> list[str]:
        return sorted(p.name for p in (self._root / "patches").glob("*") if p.is_dir())

    def modules(self) -> list[str]:
        """Return what the matrix and the series name: folders, and modules of them."""
        tables = [self._matrix(), *map(_toml, (self._root / "patches").glob("*/series.toml"))]
        return sorted({str(table["module"]) for table in tables if "module" in table})

    def cases(self) -> list[str]:
        own, inside = self._root / "images", "guest/cases"
        folder = (own if own.exists() else shipped.folder("images")) / inside
        if named := self._table.get("cases"):
            folder = self._root / str(named)
        texts = [p.read_text("utf-8", "replace") for p in sorted(folder.glob("*/case.toml"))]
        ids = [name for text in texts for name in re.findall(r'^\s*id\s*=\s*"([^"]+)"', text, re.M)]
        return [*ids, *sorted(p.stem for p in folder.glob("*.sh"))]

    def flavours(self) -> list[str]:
        return ["plain", "all", *self._matrix().get("flavours", {})]

    def cells(self) -> Iterator[str]:
        matrix = self._matrix()
        axes = {name: axis.get("values", ["y", "n"]) for name, axis in matrix.get("axes", {}).items()}
        wanted = self._given.get("flavour") or ["all"]
        flavours = [
            f for f in ("", *matrix.get("flavours", {})) if "all" in wanted or (f or "plain") in wanted
        ]
        series = [Path(name).name for name in self._given.get("series") or self._table.get("series", ())]
        # These come with their configuration, and have no axes.
        given = {name for table in self._declared() for name in table.get("kernels", {})}
        for kernel, variant, flavour in itertools.product(self._kernels(), [_CONTROL, *series], flavours):
            for values in itertools.product(*({} if kernel in given else axes).values()):
                yield cell_id(variant, dict(zip(axes, values, strict=False)), flavour, kernel)

    def _kernels(self) -> list[str]:
        """Return the names of the kernels as cells have them."""
        trees = [*self._given.get("tree", ()), *self._given.get("kernel", ())]
        trees = trees or self._matrix().get("kernels", [])
        return [kernel_name(tree) for tree in trees] if len(trees) > 1 else [""]

    def runs(self) -> list[str]:
        return [f"{self._out}/{name}" for name in self.run_ids()]

    def run_ids(self) -> list[str]:
        return sorted((p.parent.name for p in Path(self._out).glob("*/results.json")), reverse=True)

    @property
    def _out(self) -> str:
        return (self._given.get("out") or ["out"])[-1].rstrip("/")

    def _matrix(self) -> Mapping[str, Any]:
        if named := self._given.get("matrix"):
            return _toml(Path(named[-1]).expanduser())
        named = self._table.get("matrix", "kconfigs/matrix.toml")
        if isinstance(named, dict):
            return named
        own = self._root / str(named)
        return _toml(own if own.exists() else shipped.folder("kconfigs") / own.name)


def _toml(path: Path) -> dict[str, Any]:
    with suppress(OSError, ValueError):
        return tomllib.loads(path.read_text("utf-8"))
    return {}
