"""Trees that are somebody's folder or repository."""

from __future__ import annotations

import hashlib
import os
import socket
import subprocess
from pathlib import Path

from tests.faults import Outcome, Scene
from tests.faults.hostile.base import Outside, Try, fault, outcome_of
from tests.support.trees import commit_all, git, make_tree


def fetch(name: str, tree: Path | str, says: str, code: int = 2) -> Try:
    return Try(name, ("fetch", "--tree", tree), says, code)


@fault(
    "tree-files",
    "folders with pipes, sockets, links out, chains and loops of links, endless files; no kernel at all",
)
def files(scene: Scene) -> Outcome:
    outside, root = Outside(scene), scene.root
    tries: list[Try] = []

    def tree(name: str, says: str) -> Path:
        folder = make_tree(root / name)
        tries.append(fetch(name, folder, says))
        return folder

    os.mkfifo(tree("pipe", "'fs/pipe' is neither a file nor a link") / "fs/pipe")
    with socket.socket(socket.AF_UNIX) as unix:
        here = Path.cwd()
        os.chdir(
            tree("socket", "'fs/socket' is neither a file nor a link") / "fs"
        )  # a socket's path is short
        unix.bind("socket")
        os.chdir(here)
    (tree("link", "points out of the tree") / "fs/out").symlink_to(outside.canary)
    chain = tree("chain", "points out of the tree")
    (chain / "fs/toy/up").symlink_to("../..")
    (chain / "out").symlink_to("fs/toy/up/../outside/canary")
    loop = tree("loop", "points out of the tree")
    (loop / "a").symlink_to("b")
    (loop / "b").symlink_to("a")
    makefile = tree("makefile", "Makefile|points out of the tree")
    (makefile / "Makefile").unlink()
    (makefile / "Makefile").symlink_to(outside.canary)
    with (tree("endless", "no source file is larger than 1024 MiB") / "fs/core").open("wb") as f:
        f.truncate(1 << 42)
    (tree("escape codes", r"'fs/x\\x1b\[2J\\nerror: none' is neither") / "fs").mkdir(exist_ok=True)
    os.mkfifo(root / "escape codes/fs/x\x1b[2J\nerror: none")
    tries.append(fetch("everything", "/", "not a kernel tree"))
    return outcome_of(scene, tries, outside)


def configure(tree: Path, text: str) -> None:
    with (tree / ".git/config").open("a") as f:
        f.write(text)


@fault(
    "tree-repositories",
    "checkouts whose settings run programs: monitors, hooks, filters, fetching what is missing",
)
def repositories(scene: Scene) -> Outcome:
    outside, root = Outside(scene), scene.root
    touch = f"sh -c 'echo > {outside.victim}'"
    programs = make_tree(root / "programs")
    (programs / ".gitattributes").write_text("* filter=evil diff=evil\n")
    commit_all(programs, "programs")
    (programs / "fs/toy/toy.h").write_text("changed\n")
    script = root / "evil"
    script.write_text(f"#!/bin/sh\necho > {outside.victim}\ncat\n")
    script.chmod(0o755)
    configure(
        programs,
        f"[core]\n\tfsmonitor = {script}\n\thooksPath = {root}\n\tsshCommand = {script}\n\tpager = {script}\n"
        f'[filter "evil"]\n\tclean = {script}\n\tsmudge = {script}\n\tprocess = {script}\n'
        f'[diff "evil"]\n\tcommand = {script}\n\ttextconv = {script}\n[diff]\n\texternal = {script}\n',
    )
    (programs / ".git/hooks").mkdir(exist_ok=True)
    for hook in ("post-index-change", "post-checkout", "fsmonitor-watchman"):
        (programs / ".git/hooks" / hook).write_text(f"#!/bin/sh\n{touch}\n")
        (programs / ".git/hooks" / hook).chmod(0o755)
    # The tree of HEAD is gone, and the settings say which program brings it.
    missing = make_tree(root / "missing")
    commit_all(missing, "missing")
    gone = git(missing, "rev-parse", "HEAD^{tree}")
    (missing / ".git/objects" / gone[:2] / gone[2:]).unlink()
    configure(
        missing,
        "[core]\n\trepositoryformatversion = 1\n[extensions]\n\tpartialClone = evil\n"
        f'[remote "evil"]\n\turl = {missing}\n\tpromisor = true\n\tuploadpack = {script}\n',
    )
    elsewhere = make_tree(root / "elsewhere")
    (elsewhere / ".git").write_text(f"gitdir: {outside.folder}\n")
    lost = make_tree(root / "lost")
    commit_all(lost, "lost")
    configure(lost, f"[core]\n\tworktree = {outside.folder}\n")
    broken = make_tree(root / "broken")
    commit_all(broken, "broken")
    configure(broken, f"[include]\n\tpath = {outside.canary}\n")
    tries = [
        fetch("programs", programs, "git-state: modified: 1 changed", 0),
        fetch("missing", missing, "git-state: cannot be told", 0),
        fetch("elsewhere", elsewhere, "git cannot list the files of this folder"),
        fetch("worktree", lost, "git-state: clean", 0),
        fetch("include", broken, "git-state: clean", 0),
    ]
    return outcome_of(scene, tries, outside)


def forged_index(tree: Path, before: bytes, after: bytes) -> None:
    """Rename an entry of the index without git: it would refuse."""
    assert len(before) == len(after)
    index = tree / ".git/index"
    body = index.read_bytes()[:-20].replace(before, after)
    index.write_bytes(body + hashlib.sha1(body).digest())


@fault("tree-indexes", "checkouts whose index names files out of the tree, or beyond a link")
def indexes(scene: Scene) -> Outcome:
    outside, root = Outside(scene), scene.root
    forged = make_tree(root / "forged")
    (forged / "xxxoutsidexcanary").write_text("x")
    commit_all(forged, "forged")
    forged_index(forged, b"xxxoutsidexcanary", b"../outside/canary")
    beyond = make_tree(root / "beyond")
    (beyond / "out").mkdir()
    (beyond / "out/canary").write_text("x")
    commit_all(beyond, "beyond")
    (beyond / "out/canary").unlink()
    (beyond / "out").rmdir()
    (beyond / "out").symlink_to(outside.folder)
    tries = [
        fetch("forged", forged, "names a file outside the folder: '../outside/canary'"),
        fetch("beyond a link", beyond, "points out of the tree"),
    ]
    return outcome_of(scene, tries, outside)


def made(repo: Path, *argv: str, data: bytes = b"") -> str:
    done = subprocess.run(["git", *argv], cwd=repo, input=data, capture_output=True, check=True)
    return done.stdout.decode().strip()


def commit_of(repo: Path, name: str, rows: list[tuple[str, bytes, str]]) -> None:
    """A branch whose tree has ``rows`` (mode, name, object) beside the kernel's own files."""
    own = [row.split(None, 3) for row in made(repo, "ls-tree", "main").splitlines()]
    entries = [(mode.lstrip("0"), file.encode(), oid) for mode, _, oid, file in own] + rows
    raw = b"".join(
        mode.encode() + b" " + file + b"\0" + bytes.fromhex(oid)
        for mode, file, oid in sorted(entries, key=lambda e: e[1] + (b"/" if e[0] == "40000" else b""))
    )
    tree = made(repo, "hash-object", "-t", "tree", "-w", "--literally", "--stdin", data=raw)
    who = "a <a@localhost.invalid> 0 +0000"
    text = f"tree {tree}\nauthor {who}\ncommitter {who}\n\n{name}\n"
    commit = made(repo, "hash-object", "-t", "commit", "-w", "--stdin", data=text.encode())
    made(repo, "update-ref", f"refs/heads/{name}", commit)


@fault("git-trees", "repositories whose commits hold .., .git, links out, submodules, and more than any disk")
def git_trees(scene: Scene) -> Outcome:
    outside = Outside(scene)
    repo = make_tree(scene.root / "repo")
    commit_all(repo, "main")
    text = made(repo, "hash-object", "-w", "--stdin", data=b"x\n")
    up = made(repo, "hash-object", "-w", "--stdin", data=b"..")
    out = made(repo, "hash-object", "-w", "--stdin", data=b"up/../outside/canary")
    folder = made(repo, "mktree", data=f"100644 blob {text}\tx\n".encode())
    level = folder
    for _ in range(10):
        rows = "".join(f"040000 tree {level}\td{n}\n" for n in range(10))
        level = made(repo, "mktree", data=rows.encode())
    branches: dict[str, tuple[list[tuple[str, bytes, str]], str]] = {
        "dotdot": ([("40000", b"..", folder)], r"cannot be checked out: '\.\./x'"),
        "dotgit": ([("40000", b".Git", folder)], r"cannot be checked out: '\.Git/x'"),
        "slash": ([("100644", b"../../outside/victim", text)], "cannot be checked out"),
        "link": ([("120000", b"out", out), ("120000", b"up", up)], "points out of the tree"),
        "bomb": ([("40000", b"bomb", level)], "far more files than a kernel"),
    }
    tries = []
    for name, (rows_of, says) in branches.items():
        commit_of(repo, name, rows_of)
        tries.append(fetch(name, f"{repo.as_uri()}#{name}", says))
    (repo / ".gitmodules").write_text(f'[submodule "x"]\n\tpath = sub\n\turl = file://{outside.folder}\n')
    made(repo, "update-index", "--add", "--cacheinfo", f"160000,{'1' * 40},sub")
    made(repo, "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "submodule", "--no-verify")
    tries.append(fetch("submodule", f"{repo.as_uri()}#main", "Linux 5.10.7-toy", 0))
    outcome = outcome_of(scene, tries, outside)
    scene.invoke("clean", "--all")
    return outcome


@fault("git-addresses", "addresses and refs that git, ssh or a shell would take for options or commands")
def addresses(scene: Scene) -> Outcome:
    outside = Outside(scene)
    repo = make_tree(scene.root / "repo")
    commit_all(repo, "main")
    dash, over = "begins with a dash", "cannot be fetched over"
    own = outside.victim
    wanted = {
        f"ext::sh -c 'echo > {own}'": over,
        f"ext::sh -c 'echo > {own}'#main": over,
        "fd::17#main": over,
        "javascript://x#main": over,
        f"--upload-pack=echo > {own}": "unknown kernel",
        f"--upload-pack=echo:{own}#main": dash,
        "ssh://-oProxyCommand=touch/x#main": dash,
        "-oProxyCommand=touch:x#main": dash,
        "git://127.0.0.1/-x#main": dash,
        f"{repo.as_uri()}#--upload-pack=touch": "not a branch, tag or commit",
        f"{repo.as_uri()}#-x": "not a branch, tag or commit",
        f"{repo.as_uri()}#$(echo > {own})": "not a branch, tag or commit",
        f"{repo.as_uri()}#a..b": "not a branch, tag or commit",
        f"{repo.as_uri()}#a\nb": "control character",
        "https://127.0.0.1\n.invalid/x#main": "control character",
        "http://[::1#main": "not an address: Invalid IPv6 URL",
        "x" * 6000: "unknown kernel",
    }
    tries = [fetch(address[:60], address, says) for address, says in wanted.items()]
    tries = [Try(t.name, (t.words[0], f"--tree={t.words[2]}"), t.says, t.code) for t in tries]
    return outcome_of(scene, tries, outside)
