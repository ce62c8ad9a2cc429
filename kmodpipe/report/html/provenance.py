"""What really ran, in four groups: the source, how it was built, the machine, and the run itself. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from kmodpipe.report.html.anchors import Pairs

# The beginnings of properties' names, by group; what no other group has is about the run.
_GROUPS = (
    ("Source: tree, patches, module", ("tree", "series", "module", "sources")),
    (
        "Build: compiler, image, configuration",
        ("builder", "compiler", "matrix", "base", "config", "toolchain"),
    ),
    ("Machine: accelerator, speed, load", ("accel", "speed", "load", "host", "machine", "qemu", "worker")),
)
_REST = "Run: command, question, versions"


@dataclass(frozen=True)
class Group:
    """Some properties of the run."""

    title: str
    # The most telling ones, in a line.
    brief: str
    pairs: Pairs


def groups(properties: Mapping[str, str]) -> tuple[Group, ...]:
    """Return the properties of a run in groups; an empty group is left out."""
    found: dict[str, list[tuple[str, str]]] = {title: [] for title, _ in _GROUPS}
    found[_REST] = []
    for name, value in properties.items():
        first = name.partition(".")[0]
        title = next((title for title, own in _GROUPS if first in own), _REST)
        found[title].append((name, value))
    return tuple(Group(title, _brief(pairs), tuple(pairs)) for title, pairs in found.items() if pairs)


_BRIEF = (
    "tree",
    "tree.kernel-version",
    "builder.runtime",
    "matrix",
    "accel",
    "load.begin",
    "kmodpipe",
    "command",
)


def _brief(pairs: list[tuple[str, str]]) -> str:
    known = dict(pairs)
    return ", ".join(known[name].split("\n", 1)[0][:120] for name in _BRIEF if known.get(name))
