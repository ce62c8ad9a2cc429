"""Begin a project in a repository of one's own: look at what is there, and write the files to edit.

    a module     a Kbuild, Makefile or dkms.conf: kmodpipe.toml for the stock kernels of Debian, a first case
    a tree       a kernel: kmodpipe.toml with the tree as it is
    nothing      a place for series of patches: kmodpipe.toml with a tree of Debian's, and patches/

Only files that do not exist yet are written, and none is run.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from kmodpipe.pipeline.config import OWN_FILE
from kmodpipe.util import paths
from kmodpipe.util.errors import UserError
from kmodpipe.util.text import some

Kind = Literal["module", "tree", "empty"]

CASES = "kmodpipe-cases"
"""The folder of a project's cases, as `propose` writes it."""

_OBJECTS = re.compile(r"^[ \t]*obj-(?:m|\$\(\w+\))[ \t]*[:+]?=[ \t]*([^#\n]*)", re.MULTILINE)
_NAME = re.compile(r"([A-Za-z0-9_-]+)\.o")
_BUILT = re.compile(r'^[ \t]*BUILT_MODULE_NAME(?:\[\d+\])?=["\']?([A-Za-z0-9_-]+)', re.MULTILINE)
_BYTES = 1 << 20
# Folders of a repository in which a module is looked for.
_FOLDERS = 200


@dataclass(frozen=True)
class Proposal:
    """What a project begins with."""

    kind: Kind
    # What was found, for people.
    found: str
    # The texts of the files, by their path in the repository.
    files: Mapping[str, str]
    # The commands to run next, without the program's name, each with what it does.
    next: Mapping[str, str] = field(default_factory=dict)


def propose(root: Path, ci: str = "") -> Proposal:
    """Return what to write into a repository; ``ci`` names one whose file is written as well.

    Raise UserError if the repository has a project already.
    """
    if paths.exists(root / OWN_FILE):
        raise UserError(f"{OWN_FILE} is there already", where=str(root), hint="edit it, or remove it first")
    if all(paths.is_file(root / name) for name in ("Makefile", "Kconfig")) and paths.is_dir(root / "scripts"):
        made = _of_tree(root)
    elif modules := _modules(root):
        folder, names = modules
        made = _of_module(folder, names)
    else:
        made = _of_series()
    extra = {_CI_FILES[ci][0]: _CI_FILES[ci][1]} if ci else {}
    return Proposal(made.kind, made.found, {**made.files, **extra}, made.next)


def write(root: Path, proposal: Proposal) -> tuple[str, ...]:
    """Write the files; return the names of those that were there, which are left as they are."""
    left = []
    for name, text in proposal.files.items():
        path = root / name
        if paths.exists(path):
            left.append(name)
            continue
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            if name.endswith(".sh"):
                path.chmod(0o755)
        except OSError as e:
            raise UserError(f"{name} cannot be written: {e.strerror or e}", where=str(root)) from e
    return tuple(left)


# -- what is there --------------------------------------------------------------------------------------
def _modules(root: Path) -> tuple[str, tuple[str, ...]] | None:
    """Return the folder, from the top, and the names of the modules that a repository builds."""
    folders = [root, *sorted(path for path in root.glob("*/") if not path.name.startswith("."))][:_FOLDERS]
    for folder in folders:
        for name in ("Kbuild", "Makefile"):
            words = " ".join(_OBJECTS.findall(_text(folder / name).replace("\\\n", " ")))
            if found := tuple(dict.fromkeys(_NAME.findall(words))):
                return folder.relative_to(root).as_posix(), found
        if found := tuple(dict.fromkeys(_BUILT.findall(_text(folder / "dkms.conf")))):
            return folder.relative_to(root).as_posix(), found
    return None


def _text(path: Path) -> str:
    try:
        with path.open(encoding="utf-8", errors="replace") as f:
            return f.read(_BYTES)
    except OSError:
        return ""


# -- what is written ------------------------------------------------------------------------------------
def _of_module(folder: str, names: tuple[str, ...]) -> Proposal:
    source = "." if folder == "." else f"./{folder}"
    text = f"""\
# What kmodpipe tests here: the module of this repository, on the kernels that it has to work on.
# `kmodpipe test` builds it against each, boots each, loads the module, and runs the cases.
cases = "{CASES}"

[matrix]
# Built as `make -C KERNEL M=…` does it. Of its own Makefile: make = "modules KDIR={{kit}}".
# It is compared with the default branch; another ref: control = "v1.0".
module = {{ source = "{source}" }}
# The stock kernels of Debian 11, 12 and 13. More: debian-unstable, or one that kmodpipe builds: debian-6.12.
kernels = ["debian-11", "debian-12", "debian-13"]
# For kernels that kmodpipe builds.
fragments = ["guest.config"]

# A kernel that looks for memory errors, of those that are built:
#   kmodpipe test --kernel debian-6.12 --flavour kasan
[matrix.flavours.kasan]
summary = "KASAN, UBSAN, and checks of lists"
fragments = ["kasan.config"]
memory_mib = 512
slow = 4
"""
    lines = "\n".join(f"[ -d /sys/module/{name.replace('-', '_')} ]" for name in names)
    case = f"""\
#!/bin/sh -e
# The modules are loaded before a case runs. Exit status 0 is a pass, 4 a skip, anything else a failure.
# A warning or a crash of the kernel fails the case as well.
{lines}
"""
    return Proposal(
        "module",
        f"{some(names, 3)}, built in {'this folder' if folder == '.' else folder}",
        {OWN_FILE: text, f"{CASES}/load.sh": case},
        {"plan": "what would be done", "test": "build it on each kernel, boot, and run the cases"},
    )


def _of_tree(root: Path) -> Proposal:
    text = f"""\
# What kmodpipe tests here: this kernel tree. A module of it is chosen with --module or by the series.
tree = "here"

[trees.here]
summary = "the tree in this folder"
path = "{root}"
"""
    return Proposal(
        "tree",
        "a kernel tree",
        {OWN_FILE: text},
        {"try --module drivers/block/zram": "begin with a module: its symbols, a first case, and a run"},
    )


def _of_series() -> Proposal:
    text = """\
# What kmodpipe tests here: series of patches, in folders below patches/, on a kernel of Debian's.
tree = "debian-6.12"
"""
    about = (
        "Each folder here is a series of patches: its mails or patches, as git format-patch writes them.\n"
    )
    return Proposal(
        "empty",
        "no module and no kernel: a place for series of patches",
        {OWN_FILE: text, "patches/README": about},
        {
            "try --module drivers/block/zram": "a matrix and a first case for a module of the tree",
            "test --series NAME": "a series below patches/, once there is a matrix",
        },
    )


_GITHUB = """\
# Written by `kmodpipe init`: the module on every kernel, on each push and pull request.
name: kmodpipe
on: [push, pull_request]
permissions:
  contents: read
jobs:
  kmodpipe:
    runs-on: ubuntu-latest
    timeout-minutes: 60
    env:
      KMODPIPE_CACHE: ${{ github.workspace }}/.kmodpipe
    steps:
      - uses: actions/checkout@v4
        # What a pull request is compared with is in the history.
        with: {fetch-depth: 0}
      - uses: actions/setup-python@v5
        with: {python-version: "3.12"}
      - uses: actions/cache@v4
        with:
          path: |
            .kmodpipe/downloads
            .kmodpipe/kernels
          key: kmodpipe-${{ github.run_id }}
          restore-keys: kmodpipe-
      - run: pip install --quiet kmodpipe && kmodpipe setup --yes
      - run: kmodpipe ci
      - if: always()
        run: if [ -e out/latest/results.json ]; then kmodpipe report >> "$GITHUB_STEP_SUMMARY"; fi
      - uses: actions/upload-artifact@v4
        if: always()
        with:
          name: kmodpipe
          path: |
            out
            !out/latest/**
          if-no-files-found: ignore
"""
_GITLAB = """\
# Written by `kmodpipe init`: the module on every kernel, on each push and merge request.
kmodpipe:
  image: debian:bookworm
  variables:
    KMODPIPE_CACHE: $CI_PROJECT_DIR/.kmodpipe
    # What a merge request is compared with is in the history.
    GIT_DEPTH: "0"
  cache:
    key: kmodpipe
    paths: [.kmodpipe/downloads, .kmodpipe/kernels]
  before_script:
    - apt-get update -qq && apt-get install -qq -y python3-venv git >/dev/null
    - python3 -m venv /opt/kmodpipe && . /opt/kmodpipe/bin/activate
    - pip install --quiet kmodpipe && kmodpipe setup --yes
  script:
    - . /opt/kmodpipe/bin/activate && kmodpipe ci
  artifacts:
    when: always
    paths: [out]
    reports:
      junit: out/latest/junit.xml
"""
_CI_FILES: Mapping[str, tuple[str, str]] = {
    "github": (".github/workflows/kmodpipe.yml", _GITHUB),
    "gitlab": (".gitlab-ci.yml", _GITLAB),
}
CI = tuple(_CI_FILES)
"""The CIs that `propose` knows a file for."""
