"""What gcovr makes of a run: lcov and Cobertura, with names relative to the tree."""

from __future__ import annotations

from pathlib import Path

from lxml import etree

from kmodpipe.analysis.cover import formats
from tests.support.coverage import SUPER, coverage
from tests.support.trees import write


def test_both_hold_the_union_of_the_cells(tmp_path: Path) -> None:
    tree = write(tmp_path / "tree", {SUPER: "".join(f"line {n}\n" for n in range(1, 40))})
    (tmp_path / "scratch").mkdir()
    write(tree, {"gcovr.cfg": "exclude = .*\n"})
    cells = [cell for _, cell in coverage().of_variant("fix")]
    lcov, cobertura = formats.write(cells, tree, tmp_path, tmp_path / "scratch")
    text = lcov.read_text()
    assert f"SF:{SUPER}\n" in text and str(tmp_path) not in text + cobertura.read_text()
    rows = dict(line[3:].split(",") for line in text.splitlines() if line.startswith("DA:"))
    assert rows["12"] == "5" and rows["16"] == "0" and rows["32"] == "1"
    assert "FNDA:5,toy_fill" in text and "BRDA:15,0,0,-" in text.replace("BRDA:15,0,0,0", "BRDA:15,0,0,-")
    whole = etree.fromstring(cobertura.read_bytes())
    (one,) = whole.iter("class")
    assert one.get("filename") == SUPER
    hits = {line.get("number"): line.get("hits") for line in one.findall("lines/line")}
    assert hits["12"] == "5" and hits["16"] == "0" and hits["32"] == "1"
    (branch,) = [line for line in one.findall("lines/line") if line.get("number") == "15"]
    assert branch.get("condition-coverage") == "50% (1/2)"
