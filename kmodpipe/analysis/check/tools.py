"""Get the tools of the checks: in Docker an image with them, else this machine's own."""

from __future__ import annotations

import shutil
from collections.abc import Mapping

from kmodpipe.build import check_image
from kmodpipe.build.check_recipes import Checker
from kmodpipe.build.runtime import DockerRuntime, Runtime, docker_engine, memory_mib
from kmodpipe.pipeline import snapshot
from kmodpipe.pipeline.workspace import Workspace
from kmodpipe.util import process

_TOOLS = ("sparse", "spatch", "perl", "python3")


def checker(workspace: Workspace) -> tuple[Checker, Mapping[str, str]]:
    """Return a runner of the checks' recipes, and what identifies its tools.

    Make the image if there is none. Raise InfraError if it cannot be made.
    """
    images = workspace.spec.project.images
    runtime: Runtime = workspace.runtime
    if isinstance(runtime, DockerRuntime):
        client = docker_engine.connect()
        image = check_image.ensure(client, images, runtime.image_id, workspace.store.cache, workspace.screen)
        runtime = DockerRuntime(client, image, memory_mib=memory_mib(), warn=workspace.screen.warn)
        identity = runtime.identity()
    else:
        identity = {**runtime.identity(), **{tool: _version(tool) for tool in _TOOLS}}
    recipes = snapshot.recipes(images, workspace.store, ("check",))
    return Checker(runtime, recipes, workspace.spec.jobs), identity


def _version(tool: str) -> str:
    """Return the first line of what a program says of its version; ``none`` if it is not there."""
    if shutil.which(tool) is None:
        return "none"
    said = process.run([tool, "--version"], timeout_s=10, check=False).text.strip()
    return said.splitlines()[0] if said else "unknown"
