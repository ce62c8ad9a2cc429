"""A room of the package imports only from rooms above its own, and no modules go in circles."""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from tests.support import REPO

# design.md, "The rooms of the package", in its order: a room may lean on those that stand before it.
ROOMS = (
    "util", "kconfig", "logs", "cache", "source", "series", "results", "vm", "build", "judge", "host",
    "report", "publish", "pipeline", "ci", "analysis", "cli",
)  # fmt: skip
# Walls within the order: a room, and the room before it that it does not know all the same.
WALLS = {("pipeline", "publish")}
# Rooms that only compute and read what they are given, and what would make them do more.
QUIET = ("logs", "judge")
LOUD = (
    "asyncio", "docker", "ftplib", "http", "kmodpipe.util.process", "multiprocessing", "requests", "smtplib",
    "socket", "socketserver", "ssl", "subprocess", "urllib.request", "urllib3",
)  # fmt: skip
# Modules whose errors are the reason of another one, which says what to do.
REASONS = (
    "kmodpipe.build.complete", "kmodpipe.build.elf", "kmodpipe.build.saved_image",
    "kmodpipe.build.shared_image",
)  # fmt: skip


@dataclass(frozen=True)
class Module:
    """One module of the package: what it imports, and on which line."""

    name: str
    path: Path
    imports: Mapping[str, int] = field(default_factory=dict)

    @property
    def room(self) -> str:
        parts = self.name.split(".")
        return parts[1] if len(parts) > 1 and parts[1] != "__main__" else ""


def test_rooms_import_from_rooms_above_them() -> None:
    assert list(upward(package(), ROOMS, WALLS)) == []


def test_no_modules_go_in_circles() -> None:
    assert circle(package()) == []


def test_every_trouble_of_the_machine_says_what_to_do() -> None:
    found = [
        f"{module.path}:{call.lineno}"
        for module in package().values()
        if module.name not in REASONS
        for call in ast.walk(ast.parse((REPO / module.path).read_text()))
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "InfraError"
        if not any(keyword.arg == "hint" for keyword in call.keywords)
    ]
    assert found == [], "InfraError without a hint"


def test_rooms_that_only_compute_talk_to_nothing() -> None:
    assert list(loud(package(), QUIET)) == []


def test_rooms_are_all_that_is_at_the_top() -> None:
    top = {
        path.name for path in (REPO / "kmodpipe").iterdir() if path.suffix == ".py" or list(path.glob("*.py"))
    }
    assert top - set(ROOMS) <= {"__init__.py", "__main__.py"}
    assert set(ROOMS) <= top


def test_programs_in_the_texts_of_tests_import_what_there_is() -> None:
    """They run in a process of their own, where nothing else looks at what they import."""
    programs = [
        (path, node.value)
        for path in (REPO / "tests").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and path != Path(__file__)
    ]
    taken = [
        (path, module, name.split(" as ")[0].strip())
        for path, text in programs
        for module, names in re.findall(r"^from (kmodpipe[\w.]*) import ([\w, ]+)$", text, re.MULTILINE)
        for name in names.split(",")
    ]
    assert len(taken) > 20
    assert [one for one in taken if not _is_there(*one[1:])] == []


def _is_there(module: str, name: str) -> bool:
    below = f"{module}.{name}"
    return below in package() or (module in package() and hasattr(importlib.import_module(module), name))


FAKE = {
    "__init__.py": "from pkg.low import b\n",
    "__main__.py": "from pkg.high import e\n",
    "low/__init__.py": "from pkg.low.b import one\n",
    "low/a.py": "from pkg.low import b\n",
    "low/b.py": "import pkg.low.c as c\none = 1\n",
    "low/c.py": "from . import a\n",
    "low/d.py": "def late():\n    from pkg.high.e import two\n",
    "low/f.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from ..high import e\n",
    "low/g.py": "import pkg.low.b\nimport subprocess, urllib.request\n",
    "high/__init__.py": "",
    "high/e.py": "from pkg.low.b import one as two\n",
}


@pytest.fixture
def fake(tmp_path: Path) -> Mapping[str, Module]:
    for name, text in FAKE.items():
        (tmp_path / "pkg" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "pkg" / name).write_text(text)
    return read(tmp_path / "pkg")


def test_an_import_from_below_is_found_wherever_it_hides(fake: Mapping[str, Module]) -> None:
    order = ("low", "high")
    assert list(upward(fake, order, ())) == [
        "pkg/__init__.py:1: the top imports pkg.low.b, of a room below it",
        "pkg/low/d.py:2: low imports pkg.high.e, of a room below it",
        "pkg/low/f.py:3: low imports pkg.high.e, of a room below it",
    ]
    assert "pkg/high/e.py:1: high imports pkg.low.b, and there is a wall between them" in list(
        upward(fake, order, {("high", "low")})
    )
    assert "pkg/high/e.py:0: 'high' is no room" in list(upward(fake, ("low",), ()))


def test_a_circle_is_found_and_a_package_is_in_none_by_its_name_alone(fake: Mapping[str, Module]) -> None:
    assert set(circle(fake)) == {"pkg.low.a", "pkg.low.b", "pkg.low.c"}
    assert circle({name: m for name, m in fake.items() if name != "pkg.low.c"}) == []
    assert "pkg.low" not in fake["pkg.low.g"].imports


def test_a_taken_name_makes_the_package_a_part_of_the_circle(tmp_path: Path) -> None:
    (tmp_path / "pkg").mkdir()
    (tmp_path / "pkg" / "__init__.py").write_text("from pkg.a import one\nother = 2\n")
    (tmp_path / "pkg" / "a.py").write_text("from pkg import other\none = 1\n")
    assert set(circle(read(tmp_path / "pkg"))) == {"pkg", "pkg.a"}


def test_what_talks_is_found(fake: Mapping[str, Module]) -> None:
    assert list(loud(fake, ("low",))) == [
        "pkg/low/g.py:2: low imports subprocess",
        "pkg/low/g.py:2: low imports urllib.request",
    ]


@cache
def package() -> Mapping[str, Module]:
    return read(REPO / "kmodpipe")


def read(root: Path) -> Mapping[str, Module]:
    """Every module of the package in a folder, by its dotted name, with all that it imports."""
    paths = {}
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root.parent).with_suffix("").parts
        paths[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return {
        name: Module(name, path.relative_to(root.parent), dict(_imports(name, path, paths.keys())))
        for name, path in paths.items()
    }


def _imports(name: str, path: Path, known: Collection[str]) -> Iterator[tuple[str, int]]:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node.lineno
        elif isinstance(node, ast.ImportFrom):
            source = node.module or ""
            if node.level:
                here = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
                source = ".".join([*here[: len(here) - node.level + 1], *([source] if source else [])])
            for alias in node.names:
                below = f"{source}.{alias.name}"
                yield (below if below in known else source), node.lineno


def upward(
    modules: Mapping[str, Module], order: Sequence[str], walls: Collection[tuple[str, str]]
) -> Iterator[str]:
    """Each import of a room that the module's own does not lean on."""
    for module in modules.values():
        if module.room and module.room not in order:
            yield f"{module.path}:0: {module.room!r} is no room"
            continue
        for imported, line in module.imports.items():
            room = modules[imported].room if imported in modules else ""
            if not room or room == module.room or module.name.endswith(".__main__"):
                continue
            where = f"{module.path}:{line}: {module.room or 'the top'} imports {imported}"
            if not module.room or room not in order[: order.index(module.room)]:
                yield f"{where}, of a room below it"
            elif (module.room, room) in walls:
                yield f"{where}, and there is a wall between them"


def circle(modules: Mapping[str, Module]) -> list[str]:
    """The modules of one circle; empty if there is none."""
    graph = {name: [i for i in module.imports if i in modules] for name, module in modules.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(dict.fromkeys(error.args[1]))
    return []


def loud(modules: Mapping[str, Module], quiet: Sequence[str]) -> Iterator[str]:
    """Each import by which a room that only computes would start a program or open a connection."""
    for module in modules.values():
        for imported, line in module.imports.items():
            if module.room in quiet and any(
                imported == one or imported.startswith(f"{one}.") for one in LOUD
            ):
                yield f"{module.path}:{line}: {module.room} imports {imported}"
