"""What integration tests need: skipped with the reason where it is missing, failed where it must not be."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from rich.console import Console, RenderableType

from kmodpipe.build.runtime import docker_engine
from kmodpipe.host import facts
from tests.integration import wheel
from tests.integration.wheel import Built
from tests.support import REPO


def require(condition: bool, reason: str) -> None:
    """Unless ``condition``, skip the test; fail it where KMODPIPE_REQUIRE_INTEGRATION=1 is set."""
    if condition:
        return
    if os.environ.get("KMODPIPE_REQUIRE_INTEGRATION") == "1":
        pytest.fail(f"required here, and missing: {reason}")
    pytest.skip(reason)


def require_machinery() -> None:
    """What a whole run takes: a Docker Engine that answers, and QEMU."""
    require(docker_engine.look().state is docker_engine.State.ANSWERS, "no Docker Engine answers")
    require(shutil.which(facts.QEMU.program) is not None, "no QEMU for x86")


def show(request: pytest.FixtureRequest, table: RenderableType) -> None:
    """Print a table among pytest's own lines, captured or not."""
    console = Console(width=200)
    with console.capture() as captured:
        console.print(table)
    plugins = request.config.pluginmanager
    with plugins.getplugin("capturemanager").global_and_fixture_disabled():
        plugins.getplugin("terminalreporter").write(f"\n{captured.get()}")


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """The sdist and the wheel of this checkout, as it is now."""
    work = tmp_path_factory.mktemp("wheel")
    require((REPO / ".git").exists() and shutil.which("git") is not None, "not a git checkout")
    require(wheel.index_answers(work / "probe"), "no package index")
    return wheel.build(work)


@pytest.fixture(scope="session")
def python(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment that holds the wheel and what it requires, and nothing else."""
    return wheel.environment(built.wheel, tmp_path_factory.mktemp("elsewhere"))
