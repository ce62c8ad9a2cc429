"""Run apt without root, with a private state in a folder: its own sources, and one key ring that it trusts.

Of the machine's configuration only mirrors and proxies are used.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from kmodpipe.util import process
from kmodpipe.util.errors import InfraError
from kmodpipe.util.screen import Step

_LIMIT_S = 1800.0

# The file given with ``-c`` is read after the machine's own, and clears the settings that must not hold here.
_CONF = """\
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear APT::Architectures;
#clear APT::Default-Release;
#clear DPkg::Pre-Install-Pkgs;
#clear DPkg::Pre-Invoke;
#clear DPkg::Post-Invoke;
#clear Acquire::Languages;
APT::Architecture "amd64";
APT::Architectures { "amd64"; };
APT::Sandbox::User "root";
APT::Install-Suggests "false";
APT::Get::AllowUnauthenticated "false";
Acquire::AllowInsecureRepositories "false";
Acquire::AllowWeakRepositories "false";
Acquire::AllowDowngradeToInsecureRepositories "false";
Acquire::Languages { "none"; };
Acquire::Retries "3";
Acquire::http::Timeout "20";
Acquire::https::Timeout "20";
Dir::State "@ROOT@/state";
Dir::State::lists "@ROOT@/state/lists";
Dir::State::status "@ROOT@/state/status";
Dir::Cache "@ROOT@/cache";
Dir::Cache::archives "@ROOT@/cache/archives";
Dir::Etc::sourcelist "@ROOT@/sources.list";
Dir::Etc::sourceparts "@ROOT@/empty";
Dir::Etc::preferences "@ROOT@/none";
Dir::Etc::preferencesparts "@ROOT@/empty";
Dir::Etc::trusted "@ROOT@/none";
Dir::Etc::trustedparts "@ROOT@/empty";
Dir::Log "@ROOT@/log";
"""


def lacking(keyring: Path) -> str:
    """Return what this machine lacks to fetch packages and to verify them; empty if nothing."""
    for program in ("apt-get", "dpkg-deb"):
        if shutil.which(program) is None:
            return f"{program} is not on this machine"
    return "" if keyring.is_file() else f"the key ring {keyring} is not there"


def complaint(error: InfraError) -> str:
    """Return the most telling line of apt's output: of its E: and W: lines, one about signatures first."""
    lines = [line for line in error.detail.splitlines() if line.startswith(("E:", "W:"))]
    lines.sort(key=lambda line: ("signature" not in line.lower(), line.startswith("W:")))
    return lines[0] if lines else error.what


@dataclass(frozen=True)
class AptRoot:
    """A private state of apt, in which no package is installed."""

    path: Path

    @property
    def archives(self) -> Path:
        """The folder that `get` with ``install --download-only`` leaves packages in."""
        return self.path / "cache/archives"

    def update(self, step: Step) -> None:
        """Download the package lists, and verify them. Raise InfraError if one cannot be had."""
        # By default a list that cannot be downloaded is only a warning.
        self.get(["update", "-o", "APT::Update::Error-Mode=any"], step)

    def get(self, arguments: Iterable[str], step: Step, cwd: Path | None = None) -> None:
        """Run ``apt-get``, and show its progress. Raise InfraError if it fails."""

        def show(text: str) -> None:
            kind, _, rest = text.partition(":")
            fields = rest.split(":", 2)
            if kind == "dlstatus" and len(fields) == 3:
                step.update(fields[2], done=float(fields[1]), total=100.0)

        command = ["apt-get", "-c", str(self.path / "apt.conf"), "-o", "APT::Status-Fd=1", "-q"]
        process.run([*command, *arguments], timeout_s=_LIMIT_S, cwd=cwd, on_line=show)

    def ask(self, *arguments: str) -> str:
        """Return the output of ``apt-cache``. Raise InfraError if it fails."""
        command = ["apt-cache", "-c", str(self.path / "apt.conf"), *arguments]
        return process.run(command, timeout_s=60).text


def make(folder: Path, sources: Iterable[str]) -> AptRoot:
    """Make a private state in ``folder`` with these lines of a sources.list, each with ``signed-by``."""
    for name in ("state/lists/partial", "cache/archives/partial", "empty", "log"):
        (folder / name).mkdir(parents=True)
    (folder / "state/status").touch()
    (folder / "sources.list").write_text("".join(f"{line}\n" for line in sources))
    (folder / "apt.conf").write_text(_CONF.replace("@ROOT@", str(folder)))
    return AptRoot(folder)
