"""A state is read from the files that its stage left."""

from __future__ import annotations

from pathlib import Path

from kmodpipe.analysis.check import compiled
from kmodpipe.build.check_recipes import COMPILED
from kmodpipe.cache.store import Artifact


def test_every_file_is_read(tmp_path: Path) -> None:
    files = {
        "sparse": "== 0 /src/fs/x/a.c\n/src/fs/x/a.c:1:1: warning: s\n",
        "symbols": "== fs/x/a.ko\n0000000000000000 0000000000000010 t f\n",
        "stack": "0\n0x0000000000000010 f [a]:\t\t120\n",
        "headers": "== /src/fs/x/a.c\n/src/include/linux/kconfig.h\ninclude/generated/autoconf.h\n",
        "crcs": "",
    }
    assert set(files) == set(COMPILED)
    (tmp_path / "out").mkdir()
    for name, text in files.items():
        (tmp_path / "out" / name).write_text(text)
    (tmp_path / "build.log").write_text("/src/fs/x/a.c:2:1: warning: c [-Wx]\n")
    found = compiled.read(Artifact("check", "k", tmp_path), Path("/src"))
    assert [str(one) for one in found.warnings] == ["fs/x/a.c:2: c [-Wx]"]
    assert [one.file for one in found.sparse.lines] == ["fs/x/a.c"]
    assert found.symbols["fs/x/a.ko"].text == {"f": 16}
    assert found.frames.bytes == {"f": 120}
    assert found.headers == {"fs/x/a.c": ("include/linux/kconfig.h", "include/generated/autoconf.h")}
    assert found.exports.crcs == {} and not found.exports.failed
