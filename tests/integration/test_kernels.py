"""Other kernels than the one that the shipped series is for: a base, a module, a boot each.

They take minutes to compile: ``pytest -m kernels``.
"""

from __future__ import annotations

import difflib
import re
from pathlib import Path

import pytest

from kmodpipe import kconfig
from kmodpipe.build.recipes import Builder, ConfigOrder, WorkDir
from kmodpipe.cache.place import cache_folder
from kmodpipe.kconfig.fragment import parse_fragment
from kmodpipe.pipeline import config, first_config, runtimes
from kmodpipe.pipeline.first_files import Files
from kmodpipe.util.screen import Screen
from tests.integration.conftest import require_machinery
from tests.integration.test_pipeline import REPO, invoke
from tests.support.trees import declared

pytestmark = [
    pytest.mark.integration,
    pytest.mark.thorough,
    pytest.mark.kernels,
    pytest.mark.timeout(2400),
]

TREES = ("debian-6.1", "debian-6.12", "debian-sid")
CONTROL = "unpatched.INDEX=y.NOUUID=n"
# Of one cell, whose cases are shared out to two guests at a time.
MOST_GUESTS = 6
# Every kernel has this function, and none exports it (fs/sync.c).
UNEXPORTED = """
void ksys_sync(void);
void ovl_sync_all(void);

void ovl_sync_all(void)
{
	ksys_sync();
}
"""


@pytest.fixture(scope="module", autouse=True)
def machinery() -> None:
    require_machinery()


@pytest.mark.parametrize("tree", TREES)
def test_a_module_of_it_is_built_loaded_and_judged(tree: str, tmp_path: Path) -> None:
    ran = invoke(tmp_path, "test", "--tree", tree, "--cell", CONTROL)
    assert ran.code == 0, ran.text
    assert "unresolved" not in (ran.latest / CONTROL / "build.log").read_text()
    # What the kernel does in its own time, after a mount say, is no reason for another guest.
    channels = [path.read_text() for path in (ran.latest / CONTROL).glob("verdict*.log")]
    retired = re.findall(r" retired .*", "".join(channels))
    assert len(channels) <= MOST_GUESTS, "\n".join(retired)


@pytest.mark.parametrize("tree", TREES)
def test_a_call_to_what_nobody_exports_does_not_build(tree: str, tmp_path: Path) -> None:
    found = declared(tree)
    name = "fs/overlayfs/super.c"
    before = (found.path / name).read_text().splitlines(keepends=True)
    after = [*before, *UNEXPORTED.splitlines(keepends=True)]
    patch = tmp_path / "unexported.diff"
    patch.write_text("".join(difflib.unified_diff(before, after, f"a/{name}", f"b/{name}")))
    cell = "unexported.INDEX=y.NOUUID=n"
    ran = invoke(tmp_path / "out", "build", "--tree", tree, "--series", str(patch), "--cell", cell)
    assert ran.code == 1, ran.text
    assert '"ksys_sync"' in ran.text and "undefined" in ran.text


@pytest.mark.parametrize("tree", ("debian-5.10", *TREES))
def test_every_fragment_survives(tree: str, tmp_path: Path) -> None:
    images, found = config.load(REPO).images, declared(tree)
    common = ("guest.config", "storage.config")
    requests = {}
    for path in sorted((REPO / "kconfigs").glob("*.config")):
        layers = [parse_fragment((path.parent / name).read_text(), name) for name in (*common, path.name)]
        merged = kconfig.merge(layers)
        index = kconfig.index_symbols(found.path, merged)
        requests[path.stem] = {
            symbol: entry
            for symbol, entry in merged.items()
            if not (entry.if_known and not index.definitions[symbol])
        }
    runtime = runtimes.open_runtime("docker", images, cache_folder(), Screen())
    order = ConfigOrder(found.path, "tinyconfig", {name: kconfig.render(r) for name, r in requests.items()})
    Builder(runtime, images, 2).configure(order, WorkDir(tmp_path, tmp_path / "log"))
    lost = {}
    for name, wanted in requests.items():
        final = kconfig.parse_config((tmp_path / f"out/{name}.config").read_text())
        if differing := kconfig.verify(wanted, final):
            lost[name] = [one.requested.symbol for one in differing]
    assert lost == {}


# Folders, each with the symbol of one module where there are many.
TRIED = (
    ("fs/squashfs", ""), ("fs/fuse", ""), ("drivers/block/zram", ""), ("drivers/net", "VETH"),
    ("crypto", "CRYPTO_XXHASH"), ("drivers/md", "DM_SNAPSHOT"), ("drivers/block", "VIRTIO_BLK"),
    ("drivers/net/netdevsim", ""), ("drivers/usb/gadget/udc", "USB_DUMMY_HCD"), ("lib", "TEST_KMOD"),
)  # fmt: skip


@pytest.mark.parametrize("tree", ("debian-5.10", *TREES))
def test_what_try_requests_survives(tree: str, tmp_path: Path) -> None:
    images, found = config.load(REPO).images, declared(tree)
    requests = {}
    for folder, symbol in TRIED:
        files = Files.of(tmp_path / (symbol or Path(folder).name), "own")
        files.write(first_config.find([found], folder, [symbol] if symbol else []))
        common = kconfig.load_matrix(files.matrix).requested(kconfig.Flavour())
        index = kconfig.index_symbols(found.path, common)
        requests[files.matrix.parent.name] = {
            name: entry
            for name, entry in common.items()
            if not (entry.if_known and not index.definitions[name])
        }
    runtime = runtimes.open_runtime("docker", images, cache_folder(), Screen())
    order = ConfigOrder(found.path, "tinyconfig", {name: kconfig.render(r) for name, r in requests.items()})
    Builder(runtime, images, 2).configure(order, WorkDir(tmp_path, tmp_path / "log"))
    lost = {}
    for name, wanted in requests.items():
        final = kconfig.parse_config((tmp_path / f"out/{name}.config").read_text())
        if differing := kconfig.verify(wanted, final):
            lost[name] = [str(one) for one in differing]
    assert lost == {}


def test_a_module_that_nobody_prepared_comes_to_a_verdict(tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    symbols = ("--symbol", "FUSE_FS", "--symbol", "CUSE")
    ran = invoke(tmp_path, "try", "--module", "fs/fuse", *symbols, "--tree", "debian-5.10", "--to", str(mine))
    assert ran.code == 0, ran.text
    assert ran.case("unpatched", "load")["verdict"] == "pass"
    # The agent itself has fusectl mounted, so that only CUSE can go.
    seen = (ran.latest / "unpatched/verdict.log").read_text()
    assert "key=unloaded value=cuse" in seen and "key=stays_fuse" in seen
    assert "class/cuse%20misc%20cuse" in seen
