"""Say what a case would have to observe in order to notice a mistake. Pure."""

from __future__ import annotations

import re

from tree_sitter import Node

from kmodpipe.analysis.ablate.syntax import function_of, text_of, walk

_PRINTS = re.compile(r"(pr_|dev_|net[a-z]*_|printk|ovl_pr|ext4_msg|btrfs_|xfs_)(\w*)")
_RELEASES = re.compile(
    r"(^|_)(free|put|release|unlock|drop|destroy|unregister|close|dec|kill|cancel)(_|$)|^k?v?free"
)
_MOST = 90


def short(text: str) -> str:
    """Return a text of the source, cut to what a line has room for."""
    return text if len(text) <= _MOST else f"{text[: _MOST - 1]}…"


def _reach(node: Node) -> str:
    name = function_of(node)
    return f"in {name}(), " if name else ""


def condition(node: Node) -> str:
    """Return it for a condition that is negated."""
    told = short(text_of(node))
    depends = _depending(node)
    effect = f": {depends}" if depends else ""
    return f"{_reach(node)}run with `{told}` true or false, and see what depends on it{effect}"


def _depending(node: Node) -> str:
    up: Node | None = node
    while up is not None and up.type not in ("if_statement", "while_statement", "for_statement"):
        if up.type in ("return_statement", "init_declarator", "expression_statement"):
            return f"`{short(text_of(up))}`"
        up = up.parent
    body = up.child_by_field_name("consequence") or up.child_by_field_name("body") if up else None
    if body is not None and body.type == "compound_statement":
        body = next((one for one in body.named_children if one.type != "comment"), None)
    return f"`{short(text_of(body))}`" if body is not None else ""


def check(node: Node, jump: str) -> str:
    """Return it for the check of an error that never holds."""
    return (
        f"{_reach(node)}make `{short(text_of(node))}` hold, by a bad input or an injected fault, "
        f"and see that it ends in `{jump}`"
    )


def jump(node: Node) -> str:
    """Return it for a jump that is removed."""
    return f"{_reach(node)}take this path, and see that it ends in `{text_of(node)}`"


def code(node: Node) -> str:
    """Return it for an error code that becomes 0."""
    return f"{_reach(node)}take this path, and see that {text_of(node)} is what comes back"


def constant(node: Node, becomes: str) -> str:
    """Return it for a constant that is another one."""
    up = node.parent
    while up is not None and not up.type.endswith(("statement", "declarator", "declaration")):
        up = up.parent
    where = f" in `{short(text_of(up))}`" if up is not None else ""
    return f"{_reach(node)}tell {text_of(node)} from {becomes.strip('()')}{where}"


def bound(node: Node, sides: list[Node]) -> str:
    """Return it for a bound that is moved by one."""
    equal = " equals ".join(f"`{short(text_of(one))}`" for one in sides)
    return f"{_reach(node)}run where {equal}"


def call(node: Node) -> str:
    """Return it for a call that is removed."""
    name = text_of(node.child_by_field_name("function"))
    if _PRINTS.match(name):
        said = next((text_of(one) for one in walk(node) if one.type == "string_literal"), "")
        return f"{_reach(node)}expect the message {said} in the kernel's log (kmsg of a rule)"
    if _RELEASES.search(name):
        return (
            f"{_reach(node)}see what {name}() did not release: a leak, a lock that is held, an object that "
            "is busy (flavours with kmemleak or lockdep show it)"
        )
    return f"{_reach(node)}see what `{short(text_of(node))}` does"
