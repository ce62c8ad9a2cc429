"""Compare kernel versions with conditions: ``5.10``, ``>=6.6``, ``>=5.11 <6.6``.

A condition is one or more comparisons, all of which have to hold. Only as many numbers are compared as it
has: ``5.10`` and ``<=5.10`` include 5.10.223, ``>5.10`` does not. What follows the numbers (``-rc1``,
``-23-amd64``) does not count: what 6.6 brings is there from 6.6-rc1 on.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

_COMPARISON = re.compile(r"(>=|<=|>|<|==|=)?\s*(\d+(?:\.\d+){0,3})")
_CONDITION = re.compile(rf"\s*{_COMPARISON.pattern}(?:[\s,]+{_COMPARISON.pattern})*\s*")
_NUMBERS = re.compile(r"\d+(?:\.\d+)*")
_OPERATORS: Mapping[str, Callable[[Any, Any], bool]] = {
    ">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt, "==": operator.eq,
    "=": operator.eq, "": operator.eq,
}  # fmt: skip

FORMS = "5.10, >=6.6 or >=5.11 <6.6"
"""What a condition looks like, for messages."""


def is_condition(text: str) -> bool:
    """Return whether ``text`` is a condition."""
    return _CONDITION.fullmatch(text) is not None


def fits(version: str, condition: str) -> bool:
    """Return whether a kernel version fulfils a condition. Raise ValueError for what is none.

    A version without numbers fulfils none.
    """
    if not is_condition(condition):
        raise ValueError(f"not a condition on a kernel's version: {condition!r} ({FORMS})")
    found = _NUMBERS.match(version)
    if found is None:
        return False
    numbers = [int(part) for part in found[0].split(".")]
    return all(
        _OPERATORS[sign](_cut(numbers, len(wanted)), wanted)
        for sign, text in _COMPARISON.findall(condition)
        for wanted in [[int(part) for part in text.split(".")]]
    )


def fits_any(version: str, conditions: Iterable[str]) -> bool:
    """Return whether a kernel version fulfils one of the conditions."""
    return any(fits(version, one) for one in conditions)


def _cut(numbers: list[int], length: int) -> list[int]:
    return (numbers + [0] * length)[:length]
