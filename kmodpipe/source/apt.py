"""Read this machine's apt configuration: its mirrors, and the proxies and options to reach them.

No file of apt's is changed. All addresses of mirrors come from here, from $KMODPIPE_DEBIAN_MIRROR or
$KMODPIPE_UBUNTU_MIRROR on a machine that is another distribution's, or are declared with a kernel.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from kmodpipe.util import process
from kmodpipe.util.errors import InfraError
from kmodpipe.util.files import temporary

# Where a root file system has the keys of a declared archive.
_KEYS = "/usr/share/keyrings/kmodpipe-archive.gpg"
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
MIRROR = "KMODPIPE_DEBIAN_MIRROR"
"""The variable that names a mirror of Debian's archive, the address of its folder ``debian``."""
MIRRORS = {"Debian": MIRROR, "Ubuntu": "KMODPIPE_UBUNTU_MIRROR"}
"""The variable of each distribution, by its name."""
_FORMAT = "$(SITE)|$(RELEASE)|$(COMPONENT)|$(ORIGIN)|$(LABEL)"
# Options about proxies and the age of package lists; none that weakens the check of signatures.
_CARRIED = re.compile(
    r"^(Acquire::(http|https)(::.*)?::Proxy|Acquire::(http|https)::Proxy::.*"
    r'|Acquire::(Check-Valid-Until|Check-Date|ForceIPv4|ForceIPv6|Retries)) "[^"\\]+";$'
)


@dataclass(frozen=True)
class Target:
    """One package list that apt is configured for."""

    site: str
    release: str
    component: str
    origin: str
    label: str


def parse_targets(text: str) -> tuple[Target, ...]:
    """Parse the output of ``apt-get indextargets`` in this module's format."""
    rows = (line.split("|") for line in text.splitlines())
    return tuple(Target(*row) for row in rows if len(row) == 5)


def targets(distribution: str = "Debian") -> tuple[Target, ...]:
    """Return the package lists that this machine's apt is configured for. Raise InfraError if apt fails.

    With the variable of the ``distribution`` of interest it is that mirror alone. apt names only lists that
    it has downloaded. If it has none (in a fresh container image), they are fetched into a temporary folder,
    which takes seconds and needs no root.
    """
    if named := os.environ.get(MIRRORS[distribution]):
        return (Target(named.rstrip("/"), "stable", "main", distribution, distribution),)
    query = ["indextargets", "--format", _FORMAT, "Created-By: Packages"]
    found = parse_targets(process.run(["apt-get", *query], timeout_s=20).text)
    if found:
        return found
    with temporary("apt") as folder:
        # Run by root, apt downloads as a user that may not enter a private folder, unless this is empty.
        own = [f"-oDir::State::Lists={folder}/lists", f"-oDir::Cache={folder}", "-oAPT::Sandbox::User="]
        (folder / "lists/partial").mkdir(parents=True)
        process.run(["apt-get", *own, "-qq", "update"], timeout_s=120)
        return parse_targets(process.run(["apt-get", *own, *query], timeout_s=20).text)


def debian_sources(found: Iterable[Target], suite: str, *, keyring: Path | None = KEYRING) -> tuple[str, ...]:
    """Return sources.list lines for ``suite``, its updates and its security suite on this machine's mirrors.

    Only mirrors of Debian's own archive are used; the machine may run another release of Debian. Empty if
    apt has no such mirror that a container can reach (over http or https).
    """
    # What is not released has no updates and no security suite.
    released = suite not in ("sid", "unstable")
    signed = f"[signed-by={keyring}] " if keyring and keyring.exists() else ""
    lines: dict[str, None] = {}
    for target in found:
        if target.origin != "Debian" or target.component != "main":
            continue
        if not target.site.startswith(("http://", "https://")):
            continue
        if not released and (target.label == "Debian-Security" or target.release.endswith("-updates")):
            continue
        if target.label == "Debian-Security":
            release = f"{suite}-security"
        elif target.release.endswith("-updates"):
            release = f"{suite}-updates"
        elif re.search(r"-(backports|proposed-updates|backports-sloppy)$", target.release):
            continue
        else:
            release = suite
        lines[f"deb {signed}{target.site} {release} main"] = None
    main_archive = any(line.endswith(f" {suite} main") for line in lines)
    return tuple(lines) if main_archive else ()


def carried_options(dump: str) -> tuple[str, ...]:
    """Return the lines of ``apt-config dump`` that another system needs to reach the same mirrors."""
    return tuple(line for line in dump.splitlines() if _CARRIED.match(line))


def bootstrap(
    suite: str,
    tar: Path,
    *,
    log: Path,
    include: Sequence[str] = (),
    timeout_s: float = 300,
    sources: Sequence[str] = (),
    keyring: Path | None = None,
    distribution: str = "Debian",
) -> None:
    """Write a minbase root file system of ``suite`` to ``tar`` (about 150 MiB, in half a minute).

    It is Debian's, unless ``sources`` are given; ``keyring`` is the file of keys that these name, which the
    root file system gets at the same place. Raise InfraError if this machine's apt has no mirror, or
    mmdebstrap fails.
    """
    if distribution == "Debian":
        sources = sources or debian_sources(targets(), suite)
    if not sources:
        raise InfraError(
            f"this machine's apt has no {distribution} mirror to make a base image from",
            where="apt-get indextargets",
            hint=f"let the Docker Engine reach a registry (or load debian:{suite}-slim with `docker load`)",
        )
    options = carried_options(process.run(["apt-config", "dump"], timeout_s=20).text)
    # Its priority decides whether minbase has it, and that is not the same in each archive.
    packages = ["apt", *include, *(["ca-certificates"] if any("https://" in s for s in sources) else [])]
    more: list[str] = []
    if keyring:
        option, hook = _with_keys(keyring, sources, tar.parent)
        more = [f"--aptopt={option}", f"--customize-hook={hook}"]
    argv = [
        "mmdebstrap",
        "--variant=minbase",
        "--format=tar",
        *[f"--aptopt={option}" for option in options],
        '--aptopt=Acquire::Languages "none"',
        # As in the slim images of registries: manuals are not needed, and unpacking takes half the time.
        "--dpkgopt=force-unsafe-io",
        *[f"--dpkgopt=path-exclude=/usr/share/{d}/*" for d in ("doc", "info", "locale", "man")],
        "--dpkgopt=path-include=/usr/share/doc/*/copyright",
        *([f"--include={','.join(packages)}"] if packages else []),
        *more,
        suite,
        str(tar),
        *sources,
    ]
    # As root, unpack where space was checked: /tmp may be small or mounted nodev. Without root that folder
    # would not do, because mmdebstrap's user namespace cannot enter a private one.
    env = {"TMPDIR": str(tar.parent)} if os.getuid() == 0 else None
    process.run(argv, timeout_s=timeout_s, log=log, env=env, hint=f"read {log}")


def _with_keys(keyring: Path, sources: Sequence[str], folder: Path) -> tuple[str, str]:
    """Return mmdebstrap's arguments that let apt read a file of keys, and put it into the root file system.

    Its sources name the file where it is there. A file is written below ``folder``.
    """
    inside, own, there = folder / "sources.list", f"signed-by={keyring}", f"signed-by={_KEYS}"
    inside.write_text("".join(f"{line.replace(own, there)}\n" for line in sources))
    # The user _apt could not enter a folder of one's own, and would say that there is no such key.
    # $1 of a hook is the root file system.
    hook = (
        f'install -D -m 644 {shlex.quote(str(keyring))} "$1"{_KEYS} && '
        f'rm -f "$1"/etc/apt/sources.list.d/* && cp {shlex.quote(str(inside))} "$1"/etc/apt/sources.list'
    )
    return 'APT::Sandbox::User "root"', hook
