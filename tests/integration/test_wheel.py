"""The wheel: whole, and of use in an environment that knows nothing of the repository."""

from __future__ import annotations

import shutil
import sys
import tarfile
import zipfile
from email import message_from_bytes
from pathlib import Path

import pytest

from kmodpipe.build import builder_image
from kmodpipe.util.digest import digest_tree
from tests.integration.conftest import require_machinery
from tests.integration.wheel import SHIPPED, Built, run
from tests.support import REPO

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

IMPORT_ALL = """
import importlib, pkgutil, kmodpipe
names = [m.name for m in pkgutil.walk_packages(kmodpipe.__path__, "kmodpipe.")]
for name in names:
    try:
        if not name.endswith(".__main__"):
            importlib.import_module(name)
    except ModuleNotFoundError as e:
        # It comes with the extra `cluster`.
        if e.name != "distributed" or not name.startswith(("kmodpipe.cluster.", "kmodpipe.cli.far")):
            raise
print(kmodpipe.__file__, *sorted(["kmodpipe", *names]), sep="\\n")
"""
USE_SHIPPED = """
from pathlib import Path
from kmodpipe import kconfig
from kmodpipe.build import builder_image
from kmodpipe.util.digest import digest_tree
from kmodpipe.judge import cases
from kmodpipe.logs import known_benign
from kmodpipe.pipeline import config
project = config.load(Path.cwd())
assert kconfig.load_matrix(project.matrix).flavours, project.matrix
assert cases.load(project.cases), project.cases
print(project.images, digest_tree(project.images), digest_tree(project.matrix.parent), sep="\\n")
print(builder_image.tag(project.images))
"""


def test_the_wheel_holds_every_tracked_recipe_and_fragment(built: Built) -> None:
    with zipfile.ZipFile(built.wheel) as wheel:
        found = {
            info.filename.removeprefix("kmodpipe/shipped/"): (
                wheel.read(info),
                bool(info.external_attr >> 16 & 0o100),
            )
            for info in wheel.infolist()
            if info.filename.startswith("kmodpipe/shipped/")
        }
    expected = built.shipped()
    assert {n.partition("/")[0] for n in expected} == set(SHIPPED)
    assert any(executable for _, executable in expected.values())
    assert {name: found.get(name) for name in expected} == expected


def test_the_sdist_holds_them_too(built: Built) -> None:
    expected = built.shipped()
    with tarfile.open(built.sdist) as sdist:
        top = built.sdist.name.removesuffix(".tar.gz")
        for name, (content, executable) in expected.items():
            member = sdist.getmember(f"{top}/{name}")
            assert bool(member.mode & 0o100) == executable, name
            packed = sdist.extractfile(member)
            assert packed is not None and packed.read() == content, name
        assert f"{top}/LICENSE" in sdist.getnames()


def test_an_index_would_take_both_with_their_licence(built: Built) -> None:
    run(sys.executable, "-m", "twine", "check", "--strict", built.sdist, built.wheel, cwd=built.source)
    with zipfile.ZipFile(built.wheel) as wheel:
        (home,) = {n.partition("/")[0] for n in wheel.namelist() if ".dist-info/" in n}
        metadata = message_from_bytes(wheel.read(f"{home}/METADATA"))
        text = wheel.read(f"{home}/licenses/LICENSE")
    assert metadata["License-Expression"] == "GPL-2.0-only"
    assert metadata.get_all("License-File") == ["LICENSE"]
    assert text == (REPO / "LICENSE").read_bytes()


def test_every_module_is_in_the_wheel_and_can_be_imported(built: Built, python: Path, tmp_path: Path) -> None:
    place, *names = run(python, "-c", IMPORT_ALL, cwd=tmp_path).splitlines()
    assert Path(place).is_relative_to(python.parents[1])
    files = [p.relative_to(built.source).with_suffix("") for p in (built.source / "kmodpipe").rglob("*.py")]
    assert names == sorted(".".join(f.parts).removesuffix(".__init__") for f in files)


def test_a_project_elsewhere_uses_what_is_installed(built: Built, python: Path, tmp_path: Path) -> None:
    """With the same digests as a checkout: what one of them has built, the other finds in the cache."""
    (tmp_path / "pyproject.toml").write_text(
        '[tool.kmodpipe]\ntree = "linux"\nbenign = "kconfigs/benign.toml"\n'
    )
    images, *digests = run(python, "-c", USE_SHIPPED, cwd=tmp_path).splitlines()
    assert Path(images).is_relative_to(python.parents[1])
    source = built.source
    assert digests == [
        digest_tree(source / "images"),
        digest_tree(source / "kconfigs"),
        builder_image.tag(source / "images"),
    ]


def test_a_command_runs_from_another_folder(python: Path, tmp_path: Path) -> None:
    """`python -m kmodpipe plan` below a project, on a small tree."""
    tree, project = tmp_path / "linux", tmp_path / "project"
    for name, text in {
        "Makefile": "VERSION = 5\nPATCHLEVEL = 10\nSUBLEVEL = 0\n",
        "Kconfig": 'source "fs/overlayfs/Kconfig"\n',
        "scripts/nothing": "",
        "fs/overlayfs/Kconfig": "config OVERLAY_FS\n\ttristate\nconfig OVERLAY_FS_INDEX\n\tbool\n",
        "fs/overlayfs/Makefile": "obj-$(CONFIG_OVERLAY_FS) += overlay.o\n",
    }.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text(text)
    (project / "below").mkdir(parents=True)
    (project / "pyproject.toml").write_text(
        f'[tool.kmodpipe]\ntree = "linux"\n[tool.kmodpipe.trees.linux]\npath = "{tree}"\n'
    )
    shown = run(
        "env", f"KMODPIPE_CACHE={tmp_path / 'cache'}",
        python, "-m", "kmodpipe", "plan", "--runtime", "host", "--series", "none", cwd=project / "below",
    )  # fmt: skip
    assert "fetch linux" in shown and "module unpatched.INDEX=y.NOUUID=n" in shown


@pytest.mark.thorough
def test_the_first_five_minutes_of_a_module_outside_any_checkout(python: Path, tmp_path: Path) -> None:
    """With what the wheel brings: kernels by name, and the recipes of guest and build."""
    require_machinery()
    for name in ("Kbuild", "hello.c"):
        shutil.copy(REPO / "examples/hello" / name, tmp_path)
    kmodpipe = python.with_name("kmodpipe")
    shown = run(kmodpipe, "init", "--yes", cwd=tmp_path)
    assert "found: hello, built in this folder" in shown
    shown += run(kmodpipe, "plan", "--kernel", "debian-12", cwd=tmp_path)
    assert "debian-12" in shown
    shown += run(kmodpipe, "test", "--kernel", "debian-12", cwd=tmp_path)
    assert "1 passed, 0 failed" in shown
    shown += run(kmodpipe, "report", cwd=tmp_path)
    # Nothing names what only a checkout has.
    assert "invoke" not in shown and "pyproject" not in shown and str(REPO) not in shown
