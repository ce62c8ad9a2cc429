"""Kconfig: fragments, what is asked against what came out, which cells are legal, and why not.

Pure: text in, records out. The tree's own `conf` (run in the container) decides what a configuration
becomes; this room says what to ask for, compares the answer, and names the reason where they differ.
"""

from __future__ import annotations

from kmodpipe.kconfig.fragment import Asked, Mismatch, digest, merge, parse_config, render, verify
from kmodpipe.kconfig.legality import explain, illegal, why_not
from kmodpipe.kconfig.matrix import (
    MEMORY_MIB,
    Cell,
    Flavour,
    Matrix,
    Variant,
    expand,
    flavours_of,
    load_matrix,
)  # fmt: skip
from kmodpipe.kconfig.parser import Definition, Expr, Index, Selection, index_symbols, owned_symbols
from kmodpipe.kconfig.symbol_uses import Place, alike, is_code, readers, undefined

__all__ = [
    "MEMORY_MIB", "Asked", "Cell", "Definition", "Expr", "Flavour", "Index", "Matrix", "Mismatch", "Place",
    "Selection", "Variant", "alike", "digest", "expand", "explain", "flavours_of", "illegal",
    "index_symbols", "is_code", "load_matrix", "merge", "owned_symbols", "parse_config", "readers",
    "render", "undefined", "verify", "why_not",
]  # fmt: skip
