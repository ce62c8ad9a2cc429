"""What ran, in groups."""

from __future__ import annotations

from kmodpipe.report.html.provenance import groups


def test_every_property_is_in_one_group() -> None:
    properties = {
        "tree": "overlayfs-next", "tree.kernel-version": "5.10.223", "series.x.0001-a.patch": "12",
        "module": "fs/overlayfs", "builder.runtime": "docker", "matrix": "matrix.toml", "accel": "tcg",
        "load.begin": "7.06", "kmodpipe": "0.1.0", "command": "invoke ci", "question": "99", "odd name": "1",
    }  # fmt: skip
    found = groups(properties)
    assert len(found) == 4
    assert sorted(pair for group in found for pair in group.pairs) == sorted(properties.items())
    first = dict(found[0].pairs)
    assert {"tree", "series.x.0001-a.patch", "module"} <= set(first) and "accel" not in first
    assert found[0].brief == "overlayfs-next, 5.10.223" and found[3].brief == "0.1.0, invoke ci"


def test_an_empty_group_is_left_out() -> None:
    assert groups({}) == ()
    assert [g.title.partition(":")[0] for g in groups({"accel": "kvm"})] == ["Machine"]
