"""Find headers that a patch begins to use in a source that does not include them. Pure.

process/submit-checklist.rst asks for the header that declares a facility wherever that is used. Only names
that the source did not have before the patch are looked at, in the headers that it was compiled with.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterable, Mapping, Sequence

from kmodpipe.analysis.check.model import Finding, Level

TextOf = Callable[[str], str]
"""Returns the text of a file of the tree; empty if there is none."""
_PROSE = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.DOTALL)
_NAME = re.compile(r"\b[A-Za-z_]\w{2,}\b")
_INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]+([<"])([^>"\n]+)[>"]', re.MULTILINE)
# Every source has them: the first ones are included by the compiler's command line.
_ALWAYS = re.compile(
    r"^(?:linux/(?:kconfig|compiler\w*|types|stddef|const|export|build_bug|kernel|init)\.h|asm-generic/.*|generated/.*"
    r"|vdso/.*|uapi/.*)$"
)
_ROOTS = (
    re.compile(r"^include/uapi/(.+)$"),
    re.compile(r"^arch/[^/]+/include/(?:uapi/|generated/(?:uapi/)?)?(.+)$"),
    re.compile(r"^include/(.+)$"),
)
_KEYWORDS = frozenset(
    re.findall(
        r"\w+",
        """
        auto break case char const continue default double else enum extern float for goto int long register
        return short signed sizeof static struct switch typedef union unsigned void volatile while inline bool
        true false NULL define ifdef ifndef endif elif undef include defined
        """,
    )
)


def names(text: str) -> frozenset[str]:
    """Return the names in a source, without those in comments and strings."""
    return frozenset(_NAME.findall(_PROSE.sub(" ", text))) - _KEYWORDS


def included_as(path: str) -> str:
    """Return the name by which sources include a header of the tree; empty if it is elsewhere."""
    return next((match[1] for root in _ROOTS if (match := root.match(path))), "")


def declares(text: str, name: str) -> bool:
    """Return whether a header defines a macro, declares a function or a variable, or defines a type."""
    word = re.escape(name)
    return any(
        re.search(form, text, re.MULTILINE)
        for form in (
            rf"^[ \t]*#[ \t]*define[ \t]+{word}\b",
            rf"^(?:typedef[ \t]+)?(?:struct|union|enum)[ \t]+{word}[ \t]*\{{",
            rf"^typedef\b[^;{{]*\b{word}[ \t]*;|^\}}[^;\n]*\b{word}[ \t]*;",
            rf"^(?!#|return\b|typedef\b)[A-Za-z_][\w \t*]*[ \t*]{word}[ \t]*\(",
            rf"^extern\b[^;(]*\b{word}\b[ \t]*[\[;,]",
            rf"^[ \t]+{word}[ \t]*(?:=[^,;\n]*)?,?[ \t]*(?:/\*.*)?$" if name.isupper() else r"(?!)",
        )
    )


def check(
    source: str, before: str, after: str, headers: Sequence[str], text_of: TextOf, lines: Iterable[int]
) -> tuple[Finding, ...]:
    """Return a note for each header that ``source`` begins to use and does not include.

    ``before`` and ``after`` are its text, ``headers`` what it was compiled with, ``lines`` are those added.
    """
    fresh = names(after) - names(before)
    if not fresh:
        return ()
    direct, own = _included(source, after, headers, text_of)
    fresh -= {name for path in (source, *own) for name in fresh if _defines(text_of(path), name)}
    homes = _homes(fresh, headers, text_of)
    missing: dict[str, list[str]] = {}
    for name, found in sorted(homes.items()):
        forms = [form for path in found if (form := included_as(path))]
        if not forms or any(_provided(form, direct) for form in forms):
            continue
        best = min(forms, key=lambda form: (not form.startswith("linux/"), len(form), form))
        missing.setdefault(best, []).append(name)
    added = sorted(lines)
    return tuple(
        Finding(
            Level.NOTE,
            f"uses {', '.join(own_names[:4])} of <{form}>, which it does not include",
            "include-what-you-use",
            source,
            _first_use(own_names, after, added),
        )
        for form, own_names in sorted(missing.items())
    )


def _defines(text: str, name: str) -> bool:
    return bool(text) and declares(text, name)


def _included(
    source: str, text: str, headers: Sequence[str], text_of: TextOf
) -> tuple[frozenset[str], tuple[str, ...]]:
    """Return what a source includes, directly or by headers of its own folder, and these headers."""
    folder = posixpath.dirname(source)
    known, direct, own = set(headers), set[str](), dict[str, None]()
    pending = [(source, text)]
    while pending:
        _, content = pending.pop()
        for sign, name in _INCLUDE.findall(content):
            beside = posixpath.normpath(posixpath.join(folder, name))
            if sign == '"' and beside in known:
                if beside not in own:
                    own[beside] = None
                    pending.append((beside, text_of(beside)))
            else:
                direct.add(name)
    return frozenset(direct), tuple(own)


def _homes(fresh: frozenset[str], headers: Sequence[str], text_of: TextOf) -> Mapping[str, list[str]]:
    found: dict[str, list[str]] = {}
    for path in headers:
        text = text_of(path) if included_as(path) else ""
        for name in fresh & frozenset(_NAME.findall(text)):
            if declares(text, name):
                found.setdefault(name, []).append(path)
    return found


def _provided(form: str, direct: frozenset[str]) -> bool:
    """Return whether a header is included, or part of one that is: rcupdate_wait.h of rcupdate.h."""
    if form in direct or _ALWAYS.match(form):
        return True
    if form.startswith("asm/") and f"linux/{form.removeprefix('asm/')}" in direct:
        return True
    stem = posixpath.splitext(form)[0].replace("asm/", "linux/", 1)
    return any(stem.startswith(posixpath.splitext(one)[0]) for one in direct if one.startswith("linux/"))


def _first_use(own: Sequence[str], text: str, added: Sequence[int]) -> int:
    lines = text.splitlines()
    for number in added:
        if 0 < number <= len(lines) and any(re.search(rf"\b{name}\b", lines[number - 1]) for name in own):
            return number
    return 0
