"""Ids that links to a page can keep."""

from __future__ import annotations

from kmodpipe.report.html.anchors import Names


def test_an_id_depends_on_the_name_and_not_on_its_place() -> None:
    assert Names("failure").of("docker") == "failure-docker"
    names = Names("failure")
    assert [names.of(n) for n in ("docker", "docker", "docker-2")] == [
        "failure-docker",
        "failure-docker-2",
        "failure-docker-2-2",
    ]


def test_no_name_breaks_out_of_it() -> None:
    names = Names("cell")
    for text in ('"><script>', "", " ", "a b\n", "\ud800\u202e", "x" * 5000, "#../?q"):
        made = names.of(text)
        assert made.startswith("cell-") and len(made) < 100
        assert not set(made) & set("<>\"'&# \n?/")
    assert len({names.of(t) for t in ("a/b", "a b", "a-b")}) == 3
