"""The tables of clusters in a project's file."""

from __future__ import annotations

from pathlib import Path

import pytest

from kmodpipe.cluster import settings
from kmodpipe.util.errors import UserError


def parsed(table: dict[str, object], name: str = "lab") -> settings.ClusterToml:
    return settings.parse({name: table}, Path("/p/kmodpipe.toml"), ())[name]


def test_a_launchers_settings_are_handed_on_as_they_stand() -> None:
    options = {"cores": 8, "queue": "kernel", "job_extra_directives": ["--exclusive"]}
    found = parsed({"launcher": "slurm", "workers": 4, "options": options})
    assert found.launcher == "slurm" and found.workers == 4
    assert found.options == options


def test_certificates_are_files_beside_the_projects_file(tmp_path: Path) -> None:
    table = {"scheduler": "tls://h:8786", "tls": {"ca": "c/ca.pem", "cert": "/abs/cert", "key": "k"}}
    found = settings.parse({"lab": table}, tmp_path / "kmodpipe.toml", ())["lab"]
    assert found.tls is not None
    assert (found.tls.ca, found.tls.cert) == (str(tmp_path / "c/ca.pem"), "/abs/cert")


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({}, "takes a scheduler or a launcher"),
        ({"launcher": "slurm", "scheduler": "tcp://h:1"}, "one of the two"),
        ({"launcher": "slrum"}, "slurm"),
        ({"launcher": "slurm", "wokers": 3}, "did you mean workers"),
        ({"launcher": "slurm", "workers": 0}, "workers"),
        ({"scheduler": "tls://h:1", "tls": {"ca": "x"}}, "cert"),
    ],
)
def test_a_wrong_table_is_refused_with_its_field(table: dict[str, object], said: str) -> None:
    with pytest.raises(UserError) as caught:
        parsed(table)
    assert said in str(caught.value)


def test_the_words_of_on_are_no_names_of_clusters() -> None:
    for name in ("local", "tcp://h:1", "a:b"):
        with pytest.raises(UserError):
            parsed({"launcher": "slurm"}, name)
