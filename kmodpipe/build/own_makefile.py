"""What a module's Makefile would make that kbuild, run as it documents itself, does not ask it for."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

# A rule on a line of its own: targets, a colon that begins no assignment, and what they need.
_RULE = re.compile(r"^([^\s#:=][^#:=\n]*)::?(?!=)([^#=\n]*)$", re.MULTILINE)
# The variable that names the kernel's build folder, mostly set from the running kernel.
_KERNEL = re.compile(
    r"^[ \t]*(?:export[ \t]+)?(\w+)[ \t]*[:?]?=[^\n]*(?:/lib/modules/|/usr/src/)[^\n]*$", re.MULTILINE
)
_Rule = tuple[list[str], list[str]]
_INSTALLS = re.compile(r"install|clean|check|test|dist", re.IGNORECASE)


def make_for(makefile: str, missing: str) -> str:
    """Return the arguments of make that would make a file which the compiler did not find, before the module.

    That is a goal of this Makefile that needs the file, and the kernel's build folder as ``{kit}``; empty if
    no rule makes the file.
    """
    rules = _rules(makefile)
    made = next((target for targets, _ in rules for target in targets if _is(target, missing)), "")
    return " ".join(filter(None, (_goal(rules, {made}), kernel_folder(makefile)))) if made else ""


def kernel_folder(makefile: str) -> str:
    """Return the argument of make that sets the kernel's build folder, ``KDIR={kit}``; empty without one."""
    variable = _KERNEL.search(makefile)
    return f"{variable[1]}={{kit}}" if variable else ""


def before_kbuild(makefile: str) -> str:
    """Return the arguments of make for a Makefile that makes a header before it runs kbuild, else nothing."""
    rules = _rules(makefile)
    headers = {target for targets, _ in rules for target in targets if target.endswith(".h")}
    goal, kernel = _goal(rules, headers), kernel_folder(makefile)
    return f"{goal} {kernel}" if goal and kernel else ""


def _goal(rules: Sequence[_Rule], made: Collection[str]) -> str:
    """Return the first goal that needs one of these files, of those that build; empty if none does."""
    goals = (targets[0] for targets, needs in rules if any(one in made for one in needs))
    return next((one for one in goals if not _INSTALLS.search(one) and "$" not in one), "")


def _rules(makefile: str) -> list[_Rule]:
    """Return the rules, each with its targets and what they need."""
    found = _RULE.finditer(makefile.replace("\\\n", " "))
    return [(match[1].split(), match[2].split()) for match in found]


def _is(target: str, missing: str) -> bool:
    """Return whether a target is the missing file, which the compiler names as the source includes it."""
    name = re.sub(r"^\$[({]\w+[)}]/|^\./", "", target)
    return name == missing or name.endswith(f"/{missing}")
