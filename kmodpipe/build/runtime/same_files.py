"""Try whether the containers of an engine have the files of this machine.

Folders are mounted by their paths. An engine on another machine has other files there, or none, and one that
maps users may not be able to write to ours.
"""

from __future__ import annotations

import re
import secrets
from pathlib import Path

from kmodpipe.build.runtime import docker_engine
from kmodpipe.build.runtime.docker import DockerRuntime
from kmodpipe.build.runtime.job import Folder, Job
from kmodpipe.cache.store import Store
from kmodpipe.util import document
from kmodpipe.util.errors import InfraError, Interrupted

_SCRIPT = 'cat "$SRC/word" > "$OUT/word"\n'
_TIMEOUT_S = 60.0
# Docker's words, and podman's.
_NO_SUCH_FOLDER = re.compile(r"bind source path does not exist|statfs .*no such file", re.IGNORECASE)


def require(runtime: DockerRuntime, store: Store) -> None:
    """Raise InfraError unless a container reads a file of the cache, and writes one that is found there.

    Takes a second, so it is left out for the machine's own engine if that maps no users.
    """
    if docker_engine.endpoint() == docker_engine.DEFAULT_ENDPOINT and not runtime.users.doubtful:
        return
    with store.scratch("engine-") as folder:
        word = secrets.token_hex(8)
        for name in ("recipe", "src", "out"):
            (folder / name).mkdir()
        (folder / "src" / "word").write_text(word)
        (folder / "recipe" / "try.sh").write_text(_SCRIPT)
        found, why = "", ""
        try:
            ended = runtime.run(_job(folder))
            why = ended.tail
            found = document.read_text(folder / "out" / "word", most=len(word))
        except Interrupted:
            raise
        except InfraError as e:
            if not _NO_SUCH_FOLDER.search(e.what):
                raise
            why = e.what
        except (OSError, ValueError) as e:
            why = why or str(e)
        if found != word:
            raise InfraError(
                "the Docker Engine has other files than this machine, or may not write to the cache",
                where=docker_engine.endpoint(),
                detail=why,
                hint="use an engine of this machine (unset DOCKER_HOST), or your own rootless one; where the "
                "engine is a service beside a CI job, the cache has to be at the same path on both sides",
            )


def _job(folder: Path) -> Job:
    folders = (
        Folder("RECIPE", folder / "recipe"),
        Folder("SRC", folder / "src"),
        Folder("OUT", folder / "out", writable=True),
    )
    return Job("the engine's files", "try.sh", folders, folder / "log", _TIMEOUT_S)
