"""Building in the toy world: what the cache has is used only if it is whole."""

from __future__ import annotations

import json
from pathlib import Path

from tests.support import toy


def test_what_an_earlier_version_stored_without_a_file_is_made_again(tmp_path: Path) -> None:
    world = toy.build(tmp_path)
    cell = ("--runtime", "host", "--cell", "unpatched.INDEX=y.NOUUID=n")
    assert world.invoke("build", *cell).code == 0
    lacking = {"base": "out/base.config", "config": "out/illegal.json", "guest": "guest.cpio"}
    for kind, name in lacking.items():
        for sums in (tmp_path / "cache" / "store" / kind).glob("*/.sums"):
            kept = json.loads(sums.read_text())
            if kept.pop(name, None):
                (sums.parent / name).unlink()
                sums.write_text(json.dumps(kept))
    again = world.invoke("build", *cell)
    assert again.code == 0, again.text
    for kind, name in lacking.items():
        assert f"damaged in the cache: it has no {name}" in again.text, (kind, again.text)
    assert "0 steps made" in world.invoke("build", *cell).text
