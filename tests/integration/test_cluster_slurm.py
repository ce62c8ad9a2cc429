"""Slurm for real on one machine: dask-jobqueue submits workers, and a toy world runs on them."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from kmodpipe import results
from kmodpipe.results import Run
from tests.integration.conftest import require, require_machinery
from tests.support import REPO, toy
from tests.support.servers import free_port, wait_for_port
from tests.support.toy import World

pytest.importorskip("dask_jobqueue", reason="dask-jobqueue is not installed: pip install -e '.[dev]'")

pytestmark = [
    # No setup installs Slurm.
    pytest.mark.integration, pytest.mark.thorough, pytest.mark.kernels, pytest.mark.timeout(3600),
    pytest.mark.xdist_group("cluster"),
]  # fmt: skip

# Without systemd and control groups: as root, processes are followed by /proc.
CONFIG = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
AuthType=auth/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldPort={controller}
SlurmdPort={daemon}
ReturnToService=2
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""
TABLE = """
[tool.kmodpipe.cluster.lab]
launcher = "slurm"
workers = 2
patience_s = 180
[tool.kmodpipe.cluster.lab.options]
cores = 1
memory = "1GB"
python = "{python}"
walltime = "00:30:00"
local_directory = "{folder}"
log_directory = "{folder}/logs"
job_directives_skip = ["--mem"]
scheduler_options = {{ host = "127.0.0.1", dashboard_address = "127.0.0.1:0" }}
"""

ASKED = (
    "--series", "index-nouuid", "--series", "uuid-off", "--case", "uuid-remount-index-nouuid",
    "--case", "remount-on-to-on",
)  # fmt: skip


@pytest.fixture
def slurm(tmp_path: Path) -> Iterator[Path]:
    """A controller and a node daemon of one's own; yields their configuration."""
    programs = {name: shutil.which(name) for name in ("slurmctld", "slurmd", "sbatch", "munged")}
    require(all(programs.values()), "Slurm is not installed: apt-get install slurm-wlm munge")
    require(os.getuid() == 0, "Slurm's daemons need root")
    with_munge()
    for name in ("state", "spool"):
        (tmp_path / name).mkdir()
    ports = {"controller": free_port(), "daemon": free_port()}
    path = tmp_path / "slurm.conf"
    path.write_text(CONFIG.format(host=socket.gethostname(), folder=tmp_path, cpus=os.cpu_count(), **ports))
    daemons = []
    try:
        for name, port in (("slurmctld", ports["controller"]), ("slurmd", ports["daemon"])):
            with (tmp_path / f"{name}.log").open("wb") as log:
                child = subprocess.Popen(
                    [str(programs[name]), "-D", "-c", "-f", str(path)], stdout=log, stderr=log
                )
            daemons.append(child)
            wait_for_port(port, child)
        yield path
    finally:
        for child in reversed(daemons):
            child.terminate()
            child.wait(30)


def with_munge() -> None:
    """Start munged, which Slurm's parts prove themselves with, if it does not run."""
    if Path("/run/munge/munge.socket.2").is_socket() and subprocess.run(["munge", "-n"], check=False,
            capture_output=True).returncode == 0:  # fmt: skip
        return
    require(Path("/etc/munge/munge.key").is_file(), "munge has no key: the package makes one")
    user = pwd.getpwnam("munge")
    Path("/run/munge").mkdir(exist_ok=True)
    os.chown("/run/munge", user.pw_uid, user.pw_gid)
    as_munge = ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
    subprocess.run([*as_munge, "munged"], check=True, timeout=30)


def test_slurm_starts_the_workers_and_none_is_left(slurm: Path, tmp_path: Path) -> None:
    world: World = toy.build(tmp_path / "world")
    project = world.root / "pyproject.toml"
    project.write_text(project.read_text() + TABLE.format(python=sys.executable, folder=tmp_path))
    ran = world.invoke("test", "--runtime", "host", "--on", "lab", timeout_s=600, SLURM_CONF=str(slurm))
    assert ran.code == 0, ran.text
    run = results.load(world.latest / "results.json")
    workers = {cell.properties.get("worker", "") for cell in run.cells if cell.state is results.State.RAN}
    assert workers and all(name.startswith("SLURMCluster-") for name in workers)
    assert results.totals(run)["pass"] == 5
    deadline = time.monotonic() + 60
    while (left := queue(slurm)) and time.monotonic() < deadline:
        time.sleep(1)
    assert not left


def test_real_cells_of_both_designs_go_through_slurm(slurm: Path, tmp_path: Path) -> None:
    """All cells with two cases, on what this machine has built."""
    require_machinery()
    root = tmp_path / "project"
    for name in ("patches", "kconfigs", "images"):
        shutil.copytree(REPO / name, root / name)
    table = TABLE.format(python=sys.executable, folder=tmp_path)
    (root / "pyproject.toml").write_text((REPO / "pyproject.toml").read_text() + table)
    environment = {**os.environ, "PYTHONPATH": str(REPO), "COLUMNS": "200", "SLURM_CONF": str(slurm)}

    def ran(*argv: str) -> Run:
        done = subprocess.run(
            [sys.executable, "-m", "kmodpipe", "ci", *ASKED, *argv],
            cwd=root, env=environment, capture_output=True, text=True, timeout=2400, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return results.load(max((root / "out").glob("2*/results.json")))

    far = ran("--on", "lab")
    who = {cell.properties.get("worker", "") for cell in far.cells if cell.state is results.State.RAN}
    assert who and all(name.startswith("SLURMCluster-") for name in who)
    here = ran()
    words = [
        {(cell.cell, case.case): (case.verdict, case.outcome) for cell, case in run.results()}
        for run in (far, here)
    ]
    assert words[0] == words[1] and far.id != here.id
    assert not queue(slurm)


def queue(config: Path) -> str:
    """The jobs that Slurm has."""
    done = subprocess.run(
        ["squeue", "--noheader"], env={**os.environ, "SLURM_CONF": str(config)}, capture_output=True,
        text=True, timeout=60, check=True,
    )  # fmt: skip
    return done.stdout.strip()
