"""Read the compiler's warnings about a cell's module from its artifact.

Of a module of its own source they were written when it was built; of one of the tree they are in the log, as
the compiler printed them.
"""

from __future__ import annotations

from pathlib import Path

from kmodpipe.build import compile_warnings, external_stage
from kmodpipe.build.compile_warnings import CompileWarning
from kmodpipe.cache.store import Artifact

_LOG_BYTES = 16 << 20


def of(module: Artifact, src: Path) -> tuple[CompileWarning, ...]:
    """Return the warnings about a module; ``src`` is the tree that it was built from."""
    if found := external_stage.warnings(module):
        return found
    try:
        with (module.path / "build.log").open("rb") as f:
            text = f.read(_LOG_BYTES).decode("utf-8", "replace")
    except OSError:
        return ()
    return compile_warnings.in_log(text.splitlines(), src)
