"""Read one state of a source as it was compiled for one cell, from the stage's artifact."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from kmodpipe.analysis.check import exports, sections, sizes, sparse, stack
from kmodpipe.analysis.check.exports import Exports
from kmodpipe.analysis.check.sizes import Symbols
from kmodpipe.analysis.check.sparse import Said
from kmodpipe.analysis.check.stack import Frames
from kmodpipe.build import check_recipes as recipes
from kmodpipe.build import module_warnings
from kmodpipe.build.compile_log import relative
from kmodpipe.build.compile_warnings import CompileWarning
from kmodpipe.cache.store import Artifact


@dataclass(frozen=True)
class Compiled:
    """What compiling a state said, and what its module is like."""

    warnings: tuple[CompileWarning, ...] = ()
    sparse: Said = field(default_factory=Said)
    symbols: Mapping[str, Symbols] = field(default_factory=dict)
    frames: Frames = field(default_factory=Frames)
    exports: Exports = field(default_factory=Exports)
    # Why all but the warnings is not looked at; empty if it is.
    left_out: str = ""
    # The headers that each source was compiled with.
    headers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def read(artifact: Artifact, src: Path) -> Compiled:
    """Return what is in the artifact of a state of the source ``src``."""

    def named(file: str) -> str:
        return relative(file, src)

    out = {name: sections.read(artifact.path / "out" / name) for name in recipes.COMPILED}
    return Compiled(
        warnings=module_warnings.of(artifact, src),
        sparse=sparse.parse(out[recipes.SPARSE], named),
        symbols=sizes.parse(out[recipes.SYMBOLS]),
        frames=stack.parse(out[recipes.STACK]),
        exports=exports.parse(out[recipes.SYMBOLS], out[recipes.CRCS]),
        headers={
            named(part.words[0]): tuple(map(named, part.lines_stripped))
            for part in sections.parse(out[recipes.HEADERS])
            if part.words
        },
    )
