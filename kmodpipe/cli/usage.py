"""Check the words of a command line before Invoke parses them, and read the values of options.

Invoke's own parser answers "No idea what '--jbos' is!", and a number that is none with a traceback. Here each
wrong word is a UserError with the nearest right one. `canonical` also turns every form of an option into one,
``--name`` and its value, so that what was checked is what Invoke reads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from kmodpipe.cli.completion import SHELLS
from kmodpipe.cli.options import COMMANDS, VERBS, Common, Option, Values, forms_of, options_of
from kmodpipe.util.errors import UserError, unknown_name

HELP = ("-h", "--help")
VERSION = ("-V", "--version")
COMPLETION = "--print-completion-script"
# Commands that take a word without an option, and the option that it stands for.
_BARE = {"try": "--module", "attach": "--run"}


def canonical(words: Sequence[str], program: str) -> list[str]:
    """Return ``words``, the command line without the program, with each option as ``--name`` and its value.

    Raise UserError for a word that is none of ours, and for an option that lacks its value or takes none.
    """
    return list(_Words(words, program).read())


class _Words:
    """Reads the words of one command line, from left to right."""

    def __init__(self, words: Sequence[str], program: str) -> None:
        self._words = list(words)
        self._program = program
        self._command = ""
        # What may still stand behind the command's name.
        self._verb = ""
        # By each form in which an option of the command may be typed.
        self._known: dict[str, Option] = {}

    def read(self) -> Iterator[str]:
        while self._words:
            word = self._words.pop(0)
            if word in HELP:
                yield "--help"
            elif word.startswith("-") and word != "-":
                yield from self._option(word) if self._command else self._early(word)
            elif self._verb and word == self._verb:
                self._verb = ""
            else:
                yield self._begin(word)

    def _early(self, word: str) -> Iterator[str]:
        """Yield an option of the program itself, which stands before any command."""
        name, equals, value = word.partition("=")
        if word in VERSION:
            yield "--version"
        elif word in ("-l", "--list"):
            yield "--list"
        elif name == COMPLETION:
            shell = value if equals else self._words.pop(0) if self._words else ""
            if shell not in SHELLS:
                raise unknown_name("shell", shell, SHELLS, where=COMPLETION, hint=self._help())
            yield from (COMPLETION, shell)
        else:
            owners = [c for c, group in COMMANDS.items() if name in forms_of(group)]
            if owners:
                raise UserError(
                    f"{name} is an option of a command, and stands behind its name",
                    hint=f"{self._program} {'test' if 'test' in owners else owners[0]} {name} …",
                )
            raise unknown_name("option", name, (HELP[1], VERSION[1], COMPLETION), hint=self._help())

    def _begin(self, word: str) -> str:
        if word in COMMANDS:
            self._command, self._known = word, forms_of(COMMANDS[word])
            self._verb = VERBS.get(word, "")
            return word
        if not self._command:
            raise unknown_name("command", word, COMMANDS, hint=self._help())
        if bare := _BARE.get(self._command):
            return f"{bare}={word}"
        if self._verb:
            raise unknown_name(f"word behind {self._command}", word, (self._verb,), hint=self._help())
        takers = " or ".join(
            flag for flag in ("--cell", "--case", "--run", "--to", "--dir") if flag in self._known
        )
        hint = f"name it with its option: {takers}" if takers else self._help()
        raise UserError(f"{self._command} takes options only, and {word!r} is none", hint=hint)

    def _option(self, word: str) -> Iterator[str]:
        """Yield one option and its value, or several short flags that were typed as one word."""
        name, equals, value = word.partition("=")
        if not word.startswith("--") and len(name) > 2:
            # -j4, -ofolder=x or -qv: what follows the letter is its value, or further letters.
            name, equals, value = word[:2], "attached", word[2:]
        one = self._known.get(name)
        if one is None:
            raise self._unknown(name)
        if one.values is Values.FLAG:
            if equals == "attached":
                self._words.insert(0, f"-{value}")
            elif equals:
                raise UserError(f"{one.flag} takes no value, not {value!r}", hint=self._help())
            yield one.flag
            return
        if not equals:
            value = self._value(one)
        if not value:
            raise UserError(f"{one.flag} takes {_described(one)}, and it is empty", hint=self._help())
        yield f"{one.flag}={value}"

    def _value(self, one: Option) -> str:
        if not self._words or self._words[0].partition("=")[0] in (*self._known, *HELP):
            raise UserError(f"{one.flag} takes {_described(one)}, and there is none", hint=self._help())
        return self._words.pop(0)

    def _unknown(self, name: str) -> UserError:
        owners = [c for c, group in COMMANDS.items() if name in forms_of(group)]
        if owners:
            text = f"{self._command} has no option {name}; {', '.join(owners)} {_have(owners)} it"
            return UserError(text, hint=self._help())
        flags = [flag for flag in self._known if flag.startswith("--")]
        return unknown_name("option", name, flags, where=self._command, hint=self._help())

    def _help(self) -> str:
        what = f"{self._command} --help" if self._command else "--help"
        return f"{self._program} {what} lists what there is"


def _have(owners: Sequence[str]) -> str:
    return "has" if len(owners) == 1 else "have"


def _described(one: Option) -> str:
    return {
        Values.NUMBER: "a number",
        Values.FILE: "the name of a file",
        Values.FOLDER: "the name of a folder",
    }.get(one.values, "a value")


# -- values -------------------------------------------------------------------------------------------
def values(group: type[Common], given: Mapping[str, Any]) -> Common:
    """Return the options of a command, from what Invoke parsed: text, lists of text, and flags.

    Raise UserError for a value of the wrong type.
    """
    read = {one.name: _read(one, given[one.name]) for one in options_of(group) if one.name in given}
    return group(**read)


def _read(one: Option, value: Any) -> Any:
    if one.repeatable:
        if "" in value:
            raise UserError(f"{one.flag} takes {_described(one)}, and it is empty")
        return tuple(value)
    if one.values is Values.NUMBER and isinstance(value, str):
        return _number(one, value)
    return value


def _number(one: Option, text: str) -> int:
    read: Callable[[str], int] = int
    try:
        if not text.isascii() or "_" in text:
            raise ValueError
        return read(text)
    except ValueError:
        shown = text if len(text) < 40 else f"{text[:40]}…"
        raise UserError(f"{one.flag} takes a whole number, and {shown!r} is none") from None
