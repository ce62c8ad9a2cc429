"""Which of the kernels that are known a project uses."""

from __future__ import annotations

from pathlib import Path

import pytest

from kmodpipe.pipeline import config

REPO = Path(__file__).parents[3]
OWN = """
[trees.mine]
git = "https://git.example.org/linux.git"
ref = "main"
stand_in = "debian-6.1"
"""


@pytest.mark.parametrize(
    ("written", "used"),
    [
        ('tree = "debian-6.12"\n', {"debian-6.12"}),
        # Declared here, though nothing names it yet.
        (f'tree = "debian-6.12"\n{OWN}', {"debian-6.12", "mine"}),
        (f'tree = "mine"\n{OWN}', {"mine", "debian-6.1"}),
    ],
)
def test_with_a_tree_in_use_comes_its_stand_in(tmp_path: Path, written: str, used: set[str]) -> None:
    (tmp_path / "kmodpipe.toml").write_text(written)
    assert set(config.kernels_in_use(config.load(tmp_path))) == used


def test_this_projects_own_tree_has_one() -> None:
    assert set(config.kernels_in_use(config.load(REPO))) == {"overlayfs-next", "debian-5.10"}
