"""Read C with tree-sitter, and what of a change is code. Pure.

tree-sitter reads kernel sources as they are, before the preprocessor, keeps the place of every token, and
goes on behind what it does not understand. pycparser takes preprocessed C without GNU extensions only;
libclang needs the flags of each file and 25 MB; a lexer of our own would have to find where conditions and
statements end.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

import tree_sitter_c
from tree_sitter import Language, Node, Parser

_C = Language(tree_sitter_c.language())
_TEXTS = re.compile(r"(^|/)(Documentation/|MAINTAINERS$|CREDITS$|COPYING|README|\.gitignore$|\.mailmap$)")
_TEXT_ENDINGS = (".rst", ".txt", ".md")
_HASH = re.compile(r"(^|[ \t])#.*$", re.MULTILINE)
_HELP = re.compile(r"^[ \t]*(-*help-*)[ \t]*$")


def is_c(path: str) -> bool:
    """Return whether a file is one of C."""
    return path.endswith((".c", ".h"))


def parse(text: bytes) -> Node:
    """Return the syntax tree of a C file."""
    return Parser(_C).parse(text).root_node


def walk(node: Node) -> Iterator[Node]:
    """Yield a node and all nodes below it, in the order of the text."""
    pending = [node]
    while pending:
        one = pending.pop()
        yield one
        pending += reversed(one.children)


def text_of(node: Node | None) -> str:
    """Return the source of a node, in one line; empty for none."""
    return " ".join((node.text or b"").decode("utf-8", "replace").split()) if node else ""


def line_of(node: Node) -> int:
    """Return the number of the line that a node begins in."""
    return int(node.start_point[0]) + 1


def function_of(node: Node) -> str:
    """Return the name of the function that a node is in; empty outside of functions."""
    inner: Node | None = node
    while inner and inner.type != "function_definition":
        inner = inner.parent
    name = inner.child_by_field_name("declarator") if inner else None
    while name and name.type != "identifier":
        name = name.child_by_field_name("declarator") or next(
            (one for one in name.children if one.type.endswith("declarator") or one.type == "identifier"),
            None,
        )
    return text_of(name)


# -- what is code ------------------------------------------------------------------------------------
def same_code(path: str, before: bytes | None, after: bytes | None) -> bool:
    """Return whether two versions of a file differ only in comments, spaces, documentation or help texts.

    For files of a kind that is not known here, only equal texts are the same.
    """
    if _TEXTS.search(path) or path.endswith(_TEXT_ENDINGS):
        return True
    if before is None or after is None:
        return before == after
    return _code(path, before) == _code(path, after)


def _code(path: str, content: bytes) -> object:
    name = path.rpartition("/")[2]
    if is_c(path):
        return _tokens(content)
    text = content.decode("utf-8", "surrogateescape")
    if name.startswith("Kconfig"):
        return _without_help(text)
    if name.startswith(("Makefile", "Kbuild")):
        return [line.rstrip() for line in _HASH.sub("", text).split("\n") if line.strip()]
    return text


def _tokens(content: bytes) -> list[bytes]:
    leaves = (node for node in walk(parse(content)) if not node.child_count)
    return [_bare(node) for node in leaves if node.type != "comment" and (node.text or b"").strip()]


def _bare(node: Node) -> bytes:
    text = node.text or b""
    # The body of a macro is one token, with its comments.
    return re.sub(rb"/\*.*?\*/", b" ", text, flags=re.DOTALL).strip() if node.type == "preproc_arg" else text


def _without_help(text: str) -> list[str]:
    """Return the statements of a Kconfig file.

    A help text ends before the first line that is indented less than its first (scripts/kconfig/lexer.l).
    """
    found: list[str] = []
    indent = -1  # -1: no help text; 0: its first line is not seen yet
    for line in text.split("\n"):
        plain = line.expandtabs(8)
        depth = len(plain) - len(plain.lstrip())
        if indent >= 0:
            if not plain.strip():
                continue
            if indent == 0 and depth > 0:
                indent = depth
            if indent and depth >= indent:
                continue
            indent = -1
        if _HELP.match(line):
            indent = 0
            continue
        statement = " ".join(re.sub(r"#.*$", "", line).split()) if '"' not in line else " ".join(line.split())
        if statement:
            found.append(statement)
    return found


def all_inside(content: bytes, lines: Iterable[int]) -> bool:
    """Return whether the code of these lines is all in the bodies of functions."""
    bodies = [
        (line_of(body), int(body.end_point[0]) + 1)
        for node in walk(parse(content))
        if node.type == "function_definition" and (body := node.child_by_field_name("body")) is not None
    ]
    own = content.split(b"\n")
    return all(
        any(first <= line <= last for first, last in bodies)
        for line in lines
        if line <= len(own) and _is_code_line(own[line - 1])
    )


def _is_code_line(line: bytes) -> bool:
    bare = line.strip()
    return bool(bare) and not bare.startswith((b"/*", b"*", b"//"))
