"""Small kernel-like trees, and git repositories of them, for the tests of source and series."""

from __future__ import annotations

import os
import subprocess
import tarfile
from collections.abc import Mapping
from pathlib import Path

from kmodpipe import source
from kmodpipe.cache.place import cache_folder
from kmodpipe.pipeline import config
from kmodpipe.util.screen import Screen
from tests.support import REPO

FILES: Mapping[str, str] = {
    "Makefile": "# toy\nVERSION = 5\nPATCHLEVEL = 10\nSUBLEVEL = 7\nEXTRAVERSION = -toy\n",
    "Kconfig": 'mainmenu "toy"\n',
    "scripts/run.sh": "#!/bin/sh\n",
    "fs/toy/super.c": "".join(f"line {n}\n" for n in range(1, 41)),
    "fs/toy/toy.h": "int a;\nint b;\nint c;\n",
}
_IDENTITY = {
    "GIT_AUTHOR_NAME": "toy",
    "GIT_AUTHOR_EMAIL": "toy@localhost.invalid",
    "GIT_COMMITTER_NAME": "toy",
    "GIT_COMMITTER_EMAIL": "toy@localhost.invalid",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_NOSYSTEM": "1",
}


def write(folder: Path, files: Mapping[str, str]) -> Path:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def make_tree(folder: Path) -> Path:
    """A toy kernel tree: a script that may run, and one relative link, as real trees have."""
    write(folder, FILES)
    (folder / "scripts/run.sh").chmod(0o755)
    (folder / "fs/toy/link.h").symlink_to("toy.h")
    return folder


def git(folder: Path, *args: str) -> str:
    env = {**os.environ, **_IDENTITY}
    done = subprocess.run(["git", *args], cwd=folder, env=env, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def commit_all(folder: Path, message: str) -> str:
    """Commit everything in ``folder`` (made a repository where it is none); returns the hash."""
    if not (folder / ".git").exists():
        git(folder, "init", "-q", "-b", "main")
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", message)
    return git(folder, "rev-parse", "HEAD")


def contents(folder: Path) -> dict[str, str]:
    """Every file below ``folder`` but git's own: name -> bytes, mode and times, or link target."""
    found: dict[str, str] = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if name.split("/")[0] == ".git" or path.is_dir():
            continue
        if path.is_symlink():
            found[name] = f"-> {os.readlink(path)}"  # noqa: PTH115
        else:
            s = path.stat()
            found[name] = f"{oct(s.st_mode)} {s.st_mtime_ns} {path.read_bytes()!r}"
    return found


def declared(name: str) -> source.Tree:
    """A tree that this project declares, from the user's cache or fetched into it."""
    project = config.load(REPO)
    spec = source.resolve(name, project.trees)
    return source.fetch(spec, project.trees, cache_folder(), Screen())


def get(arg: str, cache: Path, screen: Screen) -> source.Tree:
    return source.fetch(source.resolve(arg, {}), {}, cache, screen)


def pack(path: Path, folder: Path, mode: str = "w:xz") -> Path:
    with tarfile.open(path, mode) as archive_file:  # type: ignore[call-overload]
        archive_file.add(folder, "linux-5.10.7")
    return path


def empty_commits(folder: Path, number: int) -> None:
    """A repository with so many commits without a file, on the branch main, made by one git."""
    git(folder, "init", "-q", "-b", "main")
    stream = "".join(
        f"commit refs/heads/main\ncommitter toy <toy@localhost.invalid> {1600000000 + n} +0000\n"
        f"data {len(message)}\n{message}\n"
        for n in range(number)
        for message in [f"commit {n}"]
    )
    subprocess.run(["git", "fast-import", "--quiet"], cwd=folder, input=stream, text=True, check=True)
    git(folder, "reset", "-q", "--hard")
