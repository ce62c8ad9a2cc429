"""What the package brings along, and which files of it the repository and a build would lose."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from kmodpipe import kconfig
from kmodpipe.pipeline import config
from kmodpipe.util import shipped
from kmodpipe.util.errors import UserError
from tests.support import REPO
from tests.support.trees import write


def _project(root: Path, more: str = "") -> config.Project:
    (root / "pyproject.toml").write_text(f'[tool.kmodpipe]\ntree = "/nowhere"\n{more}')
    return config.load(root)


def test_every_folder_of_the_package_with_code_is_a_package() -> None:
    folders = {path.parent for path in (REPO / "kmodpipe").rglob("*.py")}
    assert len(folders) > 16
    assert [str(folder) for folder in sorted(folders) if not (folder / "__init__.py").is_file()] == []


def test_git_ignores_no_file_of_the_package() -> None:
    """An ignored file is in this checkout and in no clone of it."""
    if not (REPO / ".git").exists():
        pytest.skip("not a checkout")
    names = "\n".join(str(p.relative_to(REPO)) for p in (REPO / "kmodpipe").rglob("*.py"))
    found = subprocess.run(
        ["git", "check-ignore", "--no-index", "--stdin"],
        cwd=REPO,
        input=names,
        capture_output=True,
        text=True,
    )
    assert (found.returncode, found.stdout, found.stderr) == (1, "", "")


def test_a_checkout_uses_its_own_folders() -> None:
    assert shipped.folder("images") == REPO / "images"
    assert shipped.folder("kconfigs") == REPO / "kconfigs"


def test_an_installed_package_uses_the_folders_inside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shipped, "_PACKAGE", tmp_path / "kmodpipe")
    (tmp_path / "images").mkdir()
    (tmp_path / "kmodpipe/shipped/images").mkdir(parents=True)
    assert shipped.folder("images") == tmp_path / "kmodpipe/shipped/images"


def test_a_project_without_recipes_and_matrix_uses_the_shipped_ones(tmp_path: Path) -> None:
    project = _project(tmp_path, 'benign = "kconfigs/benign.toml"\n')
    assert project.images == REPO / "images"
    assert project.cases == REPO / "images/guest/cases"
    assert project.matrix == REPO / "kconfigs/matrix.toml"
    assert project.benign == REPO / "kconfigs/benign.toml"


def test_a_folder_of_pictures_is_no_folder_of_recipes(tmp_path: Path) -> None:
    write(tmp_path / "images", {"builder/Dockerfile": "FROM another\n", "screenshot.png": ""})
    project = _project(tmp_path)
    assert (project.images, project.cases) == (REPO / "images", REPO / "images/guest/cases")


def test_a_project_has_cases_and_no_recipes(tmp_path: Path) -> None:
    write(tmp_path / "images/guest/cases", {"mine.sh": "true\n"})
    project = _project(tmp_path)
    assert (project.images, project.cases) == (REPO / "images", tmp_path / "images/guest/cases")
    assert project.has_cases


def test_what_a_project_has_itself_comes_first(tmp_path: Path) -> None:
    write(tmp_path / "images/guest", {"recipe.sh": ""})
    (tmp_path / "kconfigs").mkdir()
    for name in ("matrix.toml", "benign.toml"):
        (tmp_path / "kconfigs" / name).touch()
    project = _project(tmp_path, 'benign = "kconfigs/benign.toml"\n')
    assert project.images == tmp_path / "images"
    assert project.matrix == tmp_path / "kconfigs/matrix.toml"
    assert project.benign == tmp_path / "kconfigs/benign.toml"


@pytest.mark.parametrize(
    "name",
    ["matrix.toml", "kconfigs/gone.toml", "kconfigs/../pyproject.toml", "kconfigs/", "/kconfigs/matrix.toml"],
)
def test_a_file_that_is_nowhere_stays_the_projects(tmp_path: Path, name: str) -> None:
    assert _project(tmp_path, f'matrix = "{name}"\n').matrix == tmp_path / name


def test_a_broken_link_of_the_project_is_not_passed_over(tmp_path: Path) -> None:
    (tmp_path / "images").symlink_to("gone")
    assert _project(tmp_path).images == tmp_path / "images"


def test_a_name_that_no_file_can_have_stays_the_projects(tmp_path: Path) -> None:
    for own in (tmp_path / ("x" * 300), tmp_path / "\0"):
        assert shipped.or_shipped(own, REPO / "images") == own


def test_a_matrix_takes_fragments_beside_it_and_then_the_shipped_ones(tmp_path: Path) -> None:
    matrix = tmp_path / "m.toml"
    matrix.write_text(
        'base = "tinyconfig"\nfragments = ["guest.config", "xfs.config"]\n'
        '[axes.A]\nsymbol = "A"\nvalues = ["y", "n"]\n'
    )
    (tmp_path / "guest.config").write_text("CONFIG_OWN=y\n")
    asked = {a.symbol: a.origin for a in kconfig.load_matrix(matrix).common}
    assert asked.pop("OWN").startswith("guest.config")
    assert "XFS_FS" in asked and {origin.partition(":")[0] for origin in asked.values()} == {"xfs.config"}
    matrix.write_text(matrix.read_text().replace("xfs.config", "gone.config"))
    with pytest.raises(UserError, match=r"the fragment gone\.config does not exist"):
        kconfig.load_matrix(matrix)


def test_files_and_folders_of_kernels_are_relative_to_the_file_that_names_them(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "kmodpipe.toml": """\
[trees.here]
path = "."
[trees.there]
path = "/srv/linux"
[trees.packed]
tarball = "linux.tar.xz"
[trees.far]
tarball = "https://example.org/linux.tar.xz"
[kernels.ours]
vmlinuz = "boot/vmlinuz"
modules = "lib/modules/6.8.0"
headers = "headers"
config = "boot/config"
"""
        },
    )
    project = config.load(tmp_path)
    trees = {name: spec.path or spec.tarball for name, spec in project.trees.items() if not spec.suites}
    assert trees == {
        "here": tmp_path,
        "there": Path("/srv/linux"),
        "packed": str(tmp_path / "linux.tar.xz"),
        "far": "https://example.org/linux.tar.xz",
    }
    assert project.packaged["ours"].vmlinuz == tmp_path / "boot/vmlinuz"
