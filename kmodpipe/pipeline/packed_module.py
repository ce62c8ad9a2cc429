"""Write a module of its own source as a run takes it into one file, for a machine without that source.

The file has its name, its control and what was declared of it. The source itself is a tree that the other
machine's cache was given (`source.kept`).
"""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

from pydantic import BaseModel

from kmodpipe.pipeline.own_module import ModuleUnderTest
from kmodpipe.source.tree import ModuleSpec, Tree
from kmodpipe.util import document
from kmodpipe.util.errors import UserError

SUFFIX = ".kmodpipe-module"
SCHEMA = "kmodpipe-module"
VERSION = 1


def of_tree(module: ModuleUnderTest, found: Tree) -> ModuleUnderTest:
    """Return the module with a source that is ``found`` by its identity, in whatever cache it is."""
    return replace(module, spec=ModuleSpec(name=module.spec.name, kept=found.identity))


def pack(module: ModuleUnderTest) -> bytes:
    """Return the content of the file, JSON."""
    made = {"schema": SCHEMA, "version": VERSION, "module": asdict(module)}
    return json.dumps(made, default=_plain).encode()


def load(path: Path) -> ModuleUnderTest:
    """Return the module in a file that `pack` wrote. Raise UserError for another one."""
    with document.given("a packed module", str(path)):
        found = document.read_object(path)
    if (found.get("schema"), found.get("version")) != (SCHEMA, VERSION):
        raise UserError("not a module that this version of kmodpipe has packed", where=str(path))
    return document.validated(ModuleUnderTest, found.get("module"), "a packed module", str(path))


def _plain(value: object) -> object:
    return value.model_dump(mode="json") if isinstance(value, BaseModel) else str(value)
