"""Jobs in real containers: what they cannot do, how they can end, and that nothing of them stays."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from kmodpipe.build.runtime import LABEL, REPRODUCIBLE, DockerRuntime, Folder, Job, docker_engine, owner
from kmodpipe.cache.store import boot_id
from kmodpipe.util import process
from kmodpipe.util.errors import InfraError, Interrupted
from tests.integration.conftest import require

if TYPE_CHECKING:
    from docker import DockerClient
    from docker.models.containers import Container

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def client() -> DockerClient:
    found = docker_engine.look()
    require(found.state is docker_engine.State.ANSWERS, f"no Docker Engine answers: {found.state}")
    return docker_engine.connect()


@pytest.fixture(scope="module")
def image(client: DockerClient) -> str:
    """Any image of this machine that has a shell and core utilities; the builder's first."""
    tagged = [i for i in client.images.list() if i.tags]
    tagged.sort(key=lambda i: not any("kmodpipe-builder" in tag for tag in i.tags))
    for one in tagged:
        with suppress(Exception):
            client.containers.run(
                one.id, ["sh", "-c", "head -c 1 /dev/zero && id"], remove=True, network_mode="none"
            )
            return str(one.id)
    require(False, "no image with a shell (the builder image will do: invoke setup)")
    return ""


@pytest.fixture
def runtime(client: DockerClient, image: str) -> Iterator[DockerRuntime]:
    with process.Children().collecting():
        yield DockerRuntime(client, image)
    # What somebody else removes may take a moment.
    deadline = time.monotonic() + 5
    while ours(client) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert ours(client) == []


def ours(client: DockerClient) -> list[Container]:
    """The containers of this process that are still there."""
    filters = {"label": f"{LABEL}={owner()}"}
    return list(client.containers.list(all=True, filters=filters, ignore_removed=True))


def job(tmp_path: Path, script: str, *, timeout_s: float = 60, **env: str) -> Job:
    recipe = tmp_path / "recipe"
    recipe.mkdir(exist_ok=True)
    (recipe / "do.sh").write_text(script)
    folders = [Folder("RECIPE", recipe)]
    for name, writable in (("SRC", False), ("OUT", True)):
        (tmp_path / name.lower()).mkdir(exist_ok=True)
        folders.append(Folder(name, tmp_path / name.lower(), writable))
    return Job("the test's job", "do.sh", tuple(folders), tmp_path / "logs" / "job.log", timeout_s, env)


PROBE = """
echo "uid=$(id -u)"
echo "gid=$(id -g)"
sed -n 's/^\\(Cap[A-Z][a-z]*\\|NoNewPrivs\\):[[:space:]]*/\\1=/p' /proc/self/status
echo "net=$(ls /sys/class/net | tr '\\n' ' ')"
echo "routes=$(tail -n +2 /proc/net/route | wc -l)"
for place in / /etc /usr "$RECIPE" "$SRC" "$OUT" /tmp "$HOME"; do
    if touch "$place/probe" 2>/dev/null; then echo "write:$place=yes"; else echo "write:$place=no"; fi
done
mkdir -p "$OUT/deep/er"
echo kept > "$OUT/deep/er/file"
echo "read=$(cat "$SRC/file")"
"""


def test_a_job_has_no_network_no_root_no_capabilities_and_writes_only_where_it_may(
    runtime: DockerRuntime, tmp_path: Path
) -> None:
    what = job(tmp_path, PROBE)
    (tmp_path / "src" / "file").write_text("source")
    # Even a folder that everybody may write is read-only unless it was given as writable.
    (tmp_path / "src").chmod(0o777)
    ended = runtime.run(what)
    assert ended.status == 0
    seen = dict(line.split("=", 1) for line in ended.tail.splitlines())
    assert seen["uid"] != "0" and seen["gid"] != "0"
    capabilities = {name: value for name, value in seen.items() if name.startswith("Cap")}
    assert {"CapEff", "CapPrm", "CapBnd"} <= set(capabilities)
    assert set(capabilities.values()) == {"0000000000000000"}
    assert seen["NoNewPrivs"] == "1"
    assert (seen["net"].split(), seen["routes"]) == (["lo"], "0")
    writes = {name[6:]: value for name, value in seen.items() if name.startswith("write:")}
    allowed = {place for place, value in writes.items() if value == "yes"}
    assert len(writes) == 7  # HOME is /tmp
    assert allowed == {"/out", "/tmp"}
    assert seen["read"] == "source"
    assert (tmp_path / "out/deep/er/file").read_text() == "kept\n"
    shutil.rmtree(tmp_path / "out")


def test_a_recipe_gets_its_settings_and_its_status_and_streams_come_back(
    runtime: DockerRuntime, tmp_path: Path
) -> None:
    lines: list[str] = []
    script = "env; for n in 1 2 3; do echo out $n; echo err $n >&2; done; printf 'no newline'; exit 7"
    what = job(tmp_path, script, JOBS="2")
    ended = runtime.run(what, lines.append)
    assert ended.status == 7
    log = what.log.read_text().splitlines()
    assert lines == log[:-1]
    assert log[-7:] == [f"{word} {n}" for n in (1, 2, 3) for word in ("out", "err")] + ["no newline"]
    env = dict(line.split("=", 1) for line in log if "=" in line)
    assert {**REPRODUCIBLE, "JOBS": "2", "HOME": "/tmp"}.items() <= env.items()
    assert (env["SRC"], env["OUT"], env["RECIPE"]) == ("/src", "/out", "/recipe")


def test_the_last_line_of_a_container_that_prints_and_ends_at_once_is_never_lost(
    runtime: DockerRuntime, tmp_path: Path
) -> None:
    for turn in range(20):
        what = job(tmp_path, f"echo first {turn}; echo last {turn}")
        assert runtime.run(what).tail == f"first {turn}\nlast {turn}"
    log = (tmp_path / "logs" / "job.log").read_text().splitlines()
    assert log == [f"{word} {turn}" for turn in range(20) for word in ("first", "last")]


def when_started(act: Callable[[], None]) -> Callable[[str], None]:
    """Run ``act`` in a thread of its own when the job says ``started``."""

    def line(text: str) -> None:
        if text == "started":
            threading.Thread(target=act, daemon=True).start()

    return line


@pytest.mark.parametrize("how", ["kill", "remove"])
def test_a_container_ended_from_outside_is_our_trouble_and_is_named(
    client: DockerClient, runtime: DockerRuntime, tmp_path: Path, how: str
) -> None:
    def act() -> None:
        (container,) = ours(docker_engine.connect())
        if how == "kill":
            container.kill()
        else:
            container.remove(force=True)

    started = time.monotonic()
    with pytest.raises(InfraError) as caught:
        runtime.run(job(tmp_path, "echo started; sleep 60; exit 0"), when_started(act))
    assert time.monotonic() - started < 30
    assert "the test's job" in caught.value.what
    assert str(tmp_path / "logs" / "job.log") in caught.value.where
    if how == "kill":
        assert "was killed (status 137)" in caught.value.what
        assert caught.value.detail == "started"


def test_a_deadline_ends_the_container(client: DockerClient, runtime: DockerRuntime, tmp_path: Path) -> None:
    started = time.monotonic()
    with pytest.raises(InfraError, match="the test's job had no end after 2 s"):
        runtime.run(job(tmp_path, 'trap "" TERM; sleep 60', timeout_s=2))
    assert time.monotonic() - started < 20
    assert ours(client) == []


def test_stop_all_from_another_thread_ends_the_container_and_refuses_the_next(
    client: DockerClient, runtime: DockerRuntime, tmp_path: Path
) -> None:
    started = time.monotonic()
    with pytest.raises(Interrupted):
        runtime.run(
            job(tmp_path, 'trap "" TERM INT; echo started; sleep 60'),
            when_started(process.children().stop_all),
        )
    assert time.monotonic() - started < 20
    assert ours(client) == []
    with pytest.raises(Interrupted, match="before"):
        runtime.run(job(tmp_path, 'touch "$OUT/ran"'))
    assert not (tmp_path / "out" / "ran").exists()


def test_memory_that_ran_out_is_told_even_where_the_recipe_ends_well(
    client: DockerClient, image: str, tmp_path: Path
) -> None:
    require(bool(client.info().get("MemoryLimit")), "the engine cannot limit memory")
    small = DockerRuntime(client, image, memory_mib=32)
    with pytest.raises(InfraError, match="ran out of memory") as caught:
        small.run(job(tmp_path, "tail /dev/zero; echo went on; exit 0"))
    assert "the test's job" in caught.value.what
    assert caught.value.detail.splitlines()[-1] == "went on"
    assert ours(client) == []


@pytest.mark.parametrize(
    "script",
    ["yes 0123456789012345678901234567890123456789 | head -c 50000000", "head -c 50000000 /dev/zero"],
)
def test_a_flood_of_output_goes_to_the_log_and_not_into_memory(
    runtime: DockerRuntime, tmp_path: Path, script: str
) -> None:
    job(tmp_path, script)
    code = f"""
import resource
from pathlib import Path
from kmodpipe.build.runtime import DockerRuntime, Folder, Job, docker_engine
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
runtime = DockerRuntime(docker_engine.connect(), {runtime.image_id!r})
before = peak()
what = Job("flood", "do.sh", (Folder("RECIPE", Path("recipe").resolve()),), Path("logs/job.log"), 60)
ended = runtime.run(what, lambda line: None)
print(ended.status, len(ended.tail) < 41 * 8192, (peak() - before) // 1024)
"""
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True, timeout=120
    )
    status, short, grown_mib = ran.stdout.split()
    assert (status, short) == ("0", "True")
    assert (tmp_path / "logs" / "job.log").stat().st_size == 50_000_000
    assert int(grown_mib) < 40


def test_a_log_that_fills_the_disk_is_our_trouble(runtime: DockerRuntime, tmp_path: Path) -> None:
    what = job(tmp_path, "echo said; exit 0")
    full = Job(what.name, what.script, what.folders, Path("/dev/full"), what.timeout_s)
    with pytest.raises(InfraError, match="log of the test's job cannot be written: No space left") as caught:
        runtime.run(full)
    assert caught.value.detail == "said"


def test_an_image_that_is_not_there_is_our_trouble(client: DockerClient, tmp_path: Path) -> None:
    with pytest.raises(InfraError, match="Docker failed while the test's job ran"):
        DockerRuntime(client, "sha256:" + "0" * 64).run(job(tmp_path, "true"))
    assert ours(client) == []


def test_only_containers_whose_maker_is_gone_are_swept(client: DockerClient, runtime: DockerRuntime) -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    labels = {
        "dead": {LABEL: f"{ended.pid}-{boot_id()}"},
        "another boot": {LABEL: f"{os.getpid()}-another-boot"},
        "no owner": {LABEL: "rubbish"},
        "alive": {LABEL: owner()},
        "in another container": {
            LABEL: f"{ended.pid}-{boot_id()}",
            "org.kmodpipe.began": "1",
            "org.kmodpipe.pid-namespace": "1",
        },
        "somebody else's": {"org.kmodpipe.test": "x"},
    }
    made = {
        name: client.containers.create(runtime.image_id, ["sleep", "60"], labels=label, network_mode="none")
        for name, label in labels.items()
    }
    try:
        made["dead"].start()
        # Other runs on this machine may have left some too.
        assert runtime.sweep() >= 3
        left = {c.id for c in client.containers.list(all=True, ignore_removed=True)}
        kept = {name for name, c in made.items() if c.id in left}
        assert kept == {"alive", "somebody else's", "in another container"}
    finally:
        for container in made.values():
            with suppress(Exception):
                container.remove(force=True)
