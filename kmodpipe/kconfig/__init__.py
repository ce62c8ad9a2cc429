"""Kconfig: the matrix and its cells, fragments, and which cells a tree's dependencies rule out.

In: matrix.toml, *.config fragments, a tree's Kconfig files, a final ``.config``.
Out: cells, the fragment to configure with, and the symbols that came out differently, with the reason.
The tree's own ``conf``, run in the container, makes the final configuration; nothing is executed here.
"""

from __future__ import annotations

from kmodpipe.kconfig.expression import Expr
from kmodpipe.kconfig.fragment import (
    Mismatch,
    SymbolRequest,
    digest,
    merge,
    parse_config,
    render,
    requests_of,
    verify,
)  # fmt: skip
from kmodpipe.kconfig.index import Definition, Index, Selection
from kmodpipe.kconfig.legality import explain, illegal, why_not
from kmodpipe.kconfig.matrix import (
    Cell,
    Flavour,
    Matrix,
    Variant,
    expand,
    flavours_of,
    load_matrix,
)
from kmodpipe.kconfig.matrix_toml import MEMORY_MIB
from kmodpipe.kconfig.parser import index_symbols, owned_symbols
from kmodpipe.kconfig.references import Undefined
from kmodpipe.kconfig.references import undefined as undefined_references
from kmodpipe.kconfig.symbol_uses import Place, alike, defined_symbols, is_code, nearest, readers, undefined

__all__ = [
    "MEMORY_MIB", "Cell", "Definition", "Expr", "Flavour", "Index", "Matrix", "Mismatch", "Place",
    "Selection", "SymbolRequest", "Undefined", "Variant", "alike", "defined_symbols", "digest", "expand",
    "explain", "flavours_of", "illegal", "index_symbols", "is_code", "load_matrix", "merge", "nearest",
    "owned_symbols", "parse_config", "readers", "render", "requests_of", "undefined", "undefined_references",
    "verify", "why_not",
]  # fmt: skip
