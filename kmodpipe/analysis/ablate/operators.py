"""Make small mistakes in the lines that a series changes. Pure.

    condition   one condition of an if, a loop, a `?:`, a `&&` or `||` is negated
    error       an error path is dropped: its check never holds, its `goto` is removed, or `-EINVAL` becomes 0
    constant    a number or a named constant is one more, `true` becomes `false`, `<` becomes `<=`
    call        a call that stands as a statement is removed; `err = call()` becomes `err = 0`

A mistake keeps the number of lines, so that nothing else of the module differs.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from tree_sitter import Node

from kmodpipe.analysis.ablate import observe
from kmodpipe.analysis.ablate.syntax import function_of, line_of, parse, text_of, walk

OPERATORS = ("condition", "error", "constant", "call")
"""In the order in which they are tried: what a whole case should notice comes first."""

_CONSTANT = re.compile(r"[A-Z][A-Z0-9]*(_[A-Z0-9]+)*")
_ERRNO = re.compile(r"E[A-Z0-9]{2,}")
_RESULT = re.compile(r"(?:\w*->|\w*\.)?(err|error|ret|rc|res|retval|status)")
_FAILS = re.compile(
    r"-E[A-Z0-9]+\b|\b(?:err|error|ret|rc|retval)\b|_ERR\b|\bERR_|\bNULL\b|^return (?:false|-1);"
)
_CONDITIONED = ("if_statement", "while_statement", "do_statement", "for_statement", "conditional_expression")
_BOUNDS = {"<": "<=", "<=": "<", ">": ">=", ">=": ">"}
# Arguments of these are names, and no values.
_NAMING = ("IS_ENABLED", "IS_BUILTIN", "IS_MODULE", "IS_REACHABLE", "sizeof", "offsetof", "container_of")
_NO_EXPRESSIONS = (
    "attribute_specifier", "field_designator", "labeled_statement", "offsetof_expression",
    "sizeof_expression", "type_descriptor",
)  # fmt: skip
_NO_VALUES = ("NULL", "PAGE_SIZE", "THIS_MODULE")


@dataclass(frozen=True)
class Mutation:
    """One small mistake in a file."""

    operator: str
    path: str
    line: int
    # Where in the file, in bytes.
    start: int
    end: int
    new: bytes
    # The function, empty outside of functions.
    function: str
    # What is changed, and what it becomes.
    was: str
    becomes: str
    # What a case would have to observe.
    observe: str

    def applied(self, content: bytes) -> bytes:
        """Return the file with the mistake."""
        return content[: self.start] + self.new + content[self.end :]


def mutations(path: str, content: bytes, lines: Collection[int]) -> tuple[Mutation, ...]:
    """Return the mistakes that can be made in these lines of a C file, in the order of the text."""
    wanted = frozenset(lines)
    found: dict[tuple[int, int, bytes], Mutation] = {}
    for node in walk(parse(content)):
        for one in _Maker(path, content, node).made():
            if one.line in wanted:
                found.setdefault((one.start, one.end, one.new), one)
    return tuple(sorted(found.values(), key=lambda one: (one.line, one.start, OPERATORS.index(one.operator))))


@dataclass(frozen=True)
class _Maker:
    """Makes the mistakes of one node."""

    path: str
    content: bytes
    node: Node

    def made(self) -> Iterator[Mutation]:
        node = self.node
        if node.type in _CONDITIONED:
            yield from self._conditions(node.child_by_field_name("condition"))
        elif node.type == "binary_expression":
            yield from self._operands()
            yield from self._bound()
        if node.type == "if_statement":
            yield from self._dropped_check()
        elif node.type == "unary_expression":
            yield from self._dropped_code()
        elif node.type == "goto_statement":
            yield from self._dropped_jump()
        elif node.type in ("number_literal", "identifier", "true", "false"):
            yield from self._constant()
        elif node.type == "expression_statement":
            yield from self._call()

    def _mutation(self, operator: str, node: Node, new: str, told: str) -> Iterator[Mutation]:
        if not _is_understood(node):
            return
        was = node.text or b""
        # As many lines as before.
        made = new.encode("utf-8", "surrogateescape")
        made += b"\n" * max(was.count(b"\n") - made.count(b"\n"), 0)
        yield Mutation(
            operator, self.path, line_of(node), node.start_byte, node.end_byte, made,
            function_of(node), text_of(node), " ".join(new.split()), told,
        )  # fmt: skip

    def _source(self, node: Node) -> str:
        return (node.text or b"").decode("utf-8", "surrogateescape")

    # -- condition -----------------------------------------------------------------------------------
    def _conditions(self, node: Node | None) -> Iterator[Mutation]:
        """Negate each part of a condition."""
        inner = _unwrapped(node)
        if inner is None or _is_logical(inner):
            # The parts of a logical operator are made where that is come by.
            return
        yield from self._negated(inner)

    def _operands(self) -> Iterator[Mutation]:
        if _is_logical(self.node):
            for side in ("left", "right"):
                inner = _unwrapped(self.node.child_by_field_name(side))
                if inner is not None and not _is_logical(inner):
                    yield from self._negated(inner)

    def _negated(self, node: Node) -> Iterator[Mutation]:
        source = self._source(node)
        if node.type == "unary_expression" and source.startswith("!"):
            new = source[1:].lstrip()
        else:
            new = f"!({source})"
        yield from self._mutation("condition", node, new, observe.condition(node))

    # -- error ---------------------------------------------------------------------------------------
    def _dropped_check(self) -> Iterator[Mutation]:
        """Let the check of an error never hold; what it calls is called all the same."""
        condition = _unwrapped(self.node.child_by_field_name("condition"))
        body = self.node.child_by_field_name("consequence")
        if condition is None or body is None or self.node.child_by_field_name("alternative"):
            return
        if jump := _jump_on_error(body):
            new = f"({self._source(condition)}) && 0"
            yield from self._mutation("error", condition, new, observe.check(condition, jump))

    def _dropped_jump(self) -> Iterator[Mutation]:
        """Let a block of several statements that ends in a goto go on behind it."""
        block = self.node.parent
        branch = block.parent if block else None
        if block is None or branch is None or block.type != "compound_statement":
            return
        if branch.type in ("if_statement", "else_clause"):
            yield from self._mutation("error", self.node, ";", observe.jump(self.node))

    def _dropped_code(self) -> Iterator[Mutation]:
        """Let a failure pass for success."""
        code = self.node.child_by_field_name("argument")
        parent = self.node.parent
        returned = parent is not None and parent.type in ("return_statement", "assignment_expression")
        is_code = text_of(code.parent if code else None).startswith("-") and _ERRNO.fullmatch(text_of(code))
        if returned and is_code:
            yield from self._mutation("error", self.node, "0", observe.code(self.node))

    # -- constant ------------------------------------------------------------------------------------
    def _constant(self) -> Iterator[Mutation]:
        node, source = self.node, self._source(self.node)
        if not _is_value(node):
            return
        if node.type in ("true", "false"):
            new = "false" if node.type == "true" else "true"
        elif node.type == "number_literal":
            if "." in source or not source[:1].isdigit():
                return
            new = f"({source} + 1)"
        elif len(source) > 2 and _CONSTANT.fullmatch(source) and source not in _NO_VALUES:
            new = f"({source} + 1)"
        else:
            return
        yield from self._mutation("constant", node, new, observe.constant(node, new))

    def _bound(self) -> Iterator[Mutation]:
        """Move a bound by one where neither side is a constant, which would be one more itself."""
        sign = self.node.child_by_field_name("operator")
        sides = [self.node.child_by_field_name(side) for side in ("left", "right")]
        plain = [one for one in sides if one is not None]
        if sign is None or sign.type not in _BOUNDS or any(_is_constant(one) for one in plain):
            return
        yield from self._mutation("constant", sign, _BOUNDS[sign.type], observe.bound(self.node, plain))

    # -- call ----------------------------------------------------------------------------------------
    def _call(self) -> Iterator[Mutation]:
        inner = self.node.named_children[0] if self.node.named_children else None
        if inner is None or not function_of(self.node):
            return
        if inner.type == "call_expression":
            yield from self._mutation("call", self.node, ";", observe.call(inner))
        elif inner.type == "assignment_expression":
            left, right = inner.child_by_field_name("left"), inner.child_by_field_name("right")
            if right is not None and right.type == "call_expression" and _RESULT.fullmatch(text_of(left)):
                yield from self._mutation("call", right, "0", observe.call(right))


def _unwrapped(node: Node | None) -> Node | None:
    while node is not None and node.type == "parenthesized_expression":
        node = node.named_children[0] if node.named_children else None
    return node


def _is_logical(node: Node) -> bool:
    sign = node.child_by_field_name("operator") if node.type == "binary_expression" else None
    return sign is not None and sign.type in ("&&", "||")


def _jump_on_error(body: Node) -> str:
    """Return the jump with which a statement ends that handles an error; empty if it does not."""
    last = body
    if body.type == "compound_statement":
        inner = [one for one in body.named_children if one.type != "comment"]
        if not inner:
            return ""
        last = inner[-1]
    if last.type == "goto_statement":
        return text_of(last)
    return text_of(last) if last.type == "return_statement" and _FAILS.search(text_of(last)) else ""


def _is_constant(node: Node) -> bool:
    return node.type == "number_literal" or bool(_CONSTANT.fullmatch(text_of(node)))


def _is_value(node: Node) -> bool:
    """Return whether a name or a number stands for a value that is used, and not for something declared."""
    parent = node.parent
    if parent is None or (
        parent.type == "call_expression" and parent.child_by_field_name("function") == node
    ):
        return False
    if parent.type in ("case_statement", "enumerator") and node in (
        parent.child_by_field_name("value") if parent.type == "case_statement" else None,
        parent.child_by_field_name("name"),
    ):
        return False
    up: Node | None = parent
    while up is not None:
        if up.type.startswith("preproc") or up.type in _NO_EXPRESSIONS:
            return False
        if up.type == "call_expression" and text_of(up.child_by_field_name("function")) in _NAMING:
            return False
        if up.type in ("function_definition", "init_declarator", "enumerator"):
            return True
        up = up.parent
    # Outside of functions and initialisers it is an argument of a macro that declares something.
    return False


def _is_understood(node: Node) -> bool:
    up: Node | None = node
    while up is not None:
        if up.type == "ERROR" or up.is_missing:
            return False
        up = up.parent
    return not any(one.type == "ERROR" or one.is_missing for one in walk(node))
