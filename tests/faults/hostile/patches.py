"""Patches, series and mailboxes."""

from __future__ import annotations

import base64
import os
import zlib
from collections.abc import Mapping
from pathlib import Path

from tests.faults import Outcome, Scene
from tests.faults.hostile.base import Outside, Try, fault, outcome_of
from tests.support.trees import make_tree

REFUSED = "names a file that no patch may touch"
HEAD = "diff --git a/{0} b/{0}\n"


def new(name: str, text: str = "x", *, mode: str = "100644", header: bool = True) -> str:
    """A patch that makes a file, or whatever ``mode`` says."""
    head = f"{HEAD.format(name)}new file mode {mode}\n" if header else ""
    no_end = "\n\\ No newline at end of file" if mode == "120000" else ""
    return f"{head}--- /dev/null\n+++ b/{name}\n@@ -0,0 +1 @@\n+{text}{no_end}\n"


def moved(kind: str, source: str, target: str) -> str:
    return (
        f"diff --git a/{source} b/{target}\nsimilarity index 100%\n{kind} from {source}\n{kind} to {target}\n"
    )


def binary(size: int) -> str:
    """A new file that says of itself how many bytes it unpacks to."""
    packed = zlib.compress(bytes(16))
    line = chr(ord("A") + len(packed) - 1) + base64.b85encode(packed + bytes(-len(packed) % 4)).decode()
    head = f"{HEAD.format('big.bin')}new file mode 100644\nindex {'0' * 40}..{'1' * 40}\n"
    return f"{head}GIT binary patch\nliteral {size}\n{line}\n\nliteral 0\nHcmV?d00001\n\n"


def series(folder: Path, patches: Mapping[str, str | bytes], *, listing: str = "", toml: str = "") -> Path:
    folder.mkdir()
    for name, text in patches.items():
        (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    if listing:
        (folder / "series").write_text(listing)
    if toml:
        (folder / "series.toml").write_text(toml)
    return folder


def trying(scene: Scene, folder: Path | str, says: str, *, name: str = "", code: int = 2) -> Try:
    tree = scene.root / "tree"
    if not tree.is_dir():
        make_tree(tree)
    told = name or Path(folder).name
    return Try(told, ("patch", "--tree", tree, "--series", folder), says, code)


@fault("patch-names", "patches into .git, out of the tree, by .., absolute names, renames and copies")
def names(scene: Scene) -> Outcome:
    outside = Outside(scene)
    wanted = {
        "dot-dot": (new("../../outside/victim"), REFUSED),
        "dot-dot-without-git": (new("../../outside/victim", header=False), REFUSED),
        "inside-out": (new("fs/../../outside/victim"), REFUSED),
        "absolute": (new(str(outside.victim), header=False), REFUSED),
        "hook": (new(".git/hooks/post-checkout", "touch victim"), REFUSED),
        "config-in-capitals": (new("fs/.GIT/config"), REFUSED),
        "rename-in": (moved("rename", "../../outside/canary", "fs/leak.h"), REFUSED),
        "rename-out": (moved("rename", "fs/toy/toy.h", "../../outside/victim"), REFUSED),
        "copy-in": (moved("copy", f"{'../' * 30}{outside.canary}", "fs/leak.h"), REFUSED),
        "long": (new("fs/" + "x" * 300), REFUSED),
        "escape-codes": (
            new('"fs/../\\033[31m\\nerror: none"').replace('b/"', '"b/').replace('a/"', '"a/'),
            REFUSED,
        ),
    }
    tries = [
        trying(scene, series(scene.root / name, {"1.patch": text}), says)
        for name, (text, says) in wanted.items()
    ]
    return outcome_of(scene, tries, outside)


@fault("patch-links", "patches that make links out, chains of links, and write through them")
def links(scene: Scene) -> Outcome:
    outside = Outside(scene)
    up = new("fs/toy/up", "../..", mode="120000")
    out = "makes a symbolic link out of the tree"

    def replaced(text: str) -> dict[str, str]:
        # A patch of a file, and one that makes it a link.
        lines = "".join(f"-{line}\n" for line in ("#!/bin/sh",))
        gone = (
            f"{HEAD.format('scripts/run.sh')}deleted file mode 100755\n--- a/scripts/run.sh\n+++ /dev/null\n"
        )
        return {
            "1.patch": f"{gone}@@ -1 +0,0 @@\n{lines}",
            "2.patch": new("scripts/run.sh", text, mode="120000"),
        }

    wanted: dict[str, tuple[dict[str, str], str]] = {
        "relative": ({"1.patch": new("out", "../../outside/canary", mode="120000")}, out),
        "absolute": ({"1.patch": new("out", str(outside.canary), mode="120000")}, out),
        "in-place-of-a-file": (replaced("../../../outside/canary"), out),
        "chain": ({"1.patch": up, "2.patch": new("o", "fs/toy/up/../outside/canary", mode="120000")}, out),
        "loop": ({"1.patch": new("a", "b", mode="120000"), "2.patch": new("b", "a", mode="120000")}, out),
        "through": (
            {"1.patch": new("d", "../../outside", mode="120000"), "2.patch": new("d/victim")},
            "beyond a symbolic link",
        ),
        "through-the-trees-own": (
            {"1.patch": new("fs/toy/link.h/x")},
            "beyond a symbolic link|does not apply",
        ),
    }  # fmt: skip
    tries = [trying(scene, series(scene.root / name, made), says) for name, (made, says) in wanted.items()]
    return outcome_of(scene, tries, outside)


@fault(
    "patch-kinds",
    "patches that make submodules, devices and setuid programs; huge, binary, cut, with NUL and CR",
)
def kinds(scene: Scene) -> Outcome:
    outside = Outside(scene)
    odd, unreadable = "makes something other than a file: mode", "git cannot read patch"
    wanted: dict[str, tuple[str | bytes, str]] = {
        "submodule": (new("sub", f"Subproject commit {'1' * 40}", mode="160000"), f"{odd} 160000.*1.patch:2"),
        "disk": (new("sda", mode="060000"), f"{odd}|{unreadable}"),
        "pipe": (new("pipe", mode="010000"), f"{odd}|{unreadable}"),
        "setuid": (new("suid", mode="104755"), f"{odd}|{unreadable}"),
        "binary": (binary(64 * 1024**3), f"{unreadable}|larger than any source"),
        "cut": (new("fs/new.c").replace("+1 @@", "+1,9 @@"), unreadable),
        "nul": (b"diff --git a/\0 b/\0\n" + bytes(99), unreadable),
        "returns": (new("fs/new.c").replace("\n", "\r\n"), f"{unreadable}|does not apply|patch applies"),
        "empty": ("", unreadable),
    }
    tries = [
        trying(scene, series(scene.root / name, {"1.patch": text}), says)
        for name, (text, says) in wanted.items()
        if name != "returns"
    ]
    large = scene.root / "large"
    series(large, {"1.patch": b""})
    with (large / "1.patch").open("wb") as f:
        f.truncate(1 << 40)
    tries.append(trying(scene, large, "larger than 64 MiB"))
    return outcome_of(scene, tries, outside)


@fault("series-files", "series files and series.toml that name, or are, files of somebody else")
def files(scene: Scene) -> Outcome:
    outside = Outside(scene)
    good = {"1.patch": new("fs/new.c")}
    root = scene.root

    def linked(name: str, target: Path | str, as_name: str = "1.patch", **more: str) -> Path:
        folder = series(root / name, {} if as_name == "1.patch" else good, **more)
        (folder / as_name).symlink_to(target)
        return folder

    piped = series(root / "pipe", {})
    os.mkfifo(piped / "1.patch")
    piped_list = series(root / "pipe-as-list", good)
    os.mkfifo(piped_list / "series")
    odd = series(root / "newline", {"1\n✓ all is well.patch": new("fs/new.c")})
    (root / "other.patch").write_text(new("fs/new.c"))
    tries = [
        trying(scene, series(root / "dot-dot", good, listing="../other.patch\n"), "lies outside.*series:1"),
        trying(scene, series(root / "absolute", good, listing=f"{root}/other.patch\n"), "lies outside"),
        trying(
            scene,
            series(root / "p0", good, listing="# x\n1.patch -p0\n"),
            "listed with -p0, and has a/ and b/",
        ),
        trying(scene, series(root / "nul", good, listing="1\0.patch\n"), "no patch can be named"),
        trying(scene, series(root / "latin", {"series": b"\xff\xfe.patch\n"}), "not text in UTF-8"),
        trying(scene, series(root / "long-name", good, listing="x" * 5000), "no patch can be named"),
        trying(scene, linked("link", outside.canary), "lies outside the series' folder"),
        trying(scene, linked("endless", "/dev/zero"), "lies outside the series' folder"),
        trying(scene, linked("loop", "1.patch"), "cannot be read|not a file|no patch"),
        trying(scene, linked("list", outside.canary, "series"), "series is a link out"),
        trying(scene, linked("toml", outside.canary, "series.toml"), "series.toml is a link out"),
        trying(scene, piped, "1.patch is not a file"),
        trying(scene, piped_list, "series is not a file"),
        trying(scene, odd, r"no patch can be named '1\\n"),
        trying(scene, "/dev/zero", "neither a folder nor a file"),
        *(
            trying(scene, series(root / f"toml-{number}", good, toml=text), says)
            for number, (text, says) in enumerate(
                {
                    'module = "fs/../../outside"': "not a module folder: 'fs/../../outside'",
                    'module = "fs/toy; touch victim"': r"series.toml is not valid[\s\S]*\| line 1: module",
                    'module = "$(touch victim)"': r"series.toml is not valid[\s\S]*\| line 1: module",
                    'design = "../x"': r"series.toml is not valid[\s\S]*\| line 1: design",
                    'axes = { INDEX = "X=y\\nCONFIG_EVIL" }': r"series.toml is not valid[\s\S]*line 1: axes",
                    "axes = " + "[" * 5000: "not TOML",
                }.items()
            )
        ),
    ]
    return outcome_of(scene, tries, outside)


@fault("mailboxes", "mailboxes: paths by .., headers that are none, a thousand messages, no patch")
def mailboxes(scene: Scene) -> Outcome:
    outside = Outside(scene)

    def mail(subject: str, body: str) -> str:
        head = "From 0000000000000000000000000000000000000000 Mon Sep 17 00:00:00 2001\n"
        return f"{head}From: a <a@localhost.invalid>\nSubject: {subject}\n\nwords\n---\n{body}\n--\n2.39\n\n"

    boxes = {
        "dot-dot": (mail("[PATCH] x", new("../../outside/victim")), REFUSED),
        "subject": (mail("[PATCH] ../../../victim\x1b[2J", new("../victim")), REFUSED),
        "header": (mail('[PATCH] =?utf-8?q?=?= "<@[::\n\t;;', new("../victim")), REFUSED),
        "many": (mail("[PATCH] x", new("fs/x.c")) * 1001, "more than 1000 messages"),
        "nothing": (mail("hello", "no patch"), "no message in it carries a patch|git cannot read"),
    }
    tries = []
    for name, (text, says) in boxes.items():
        (scene.root / f"{name}.mbox").write_text(text)
        tries.append(trying(scene, scene.root / f"{name}.mbox", says))
    return outcome_of(scene, tries, outside)


@fault(
    "patch-attributes",
    "patches of .gitattributes and .gitmodules, with filters in the user's own git settings",
)
def attributes(scene: Scene) -> Outcome:
    outside = Outside(scene)
    touch = f"touch {outside.victim}; cat"
    (scene.root / "home" / ".gitconfig").write_text(
        f'[filter "evil"]\n\tsmudge = "{touch}"\n\tclean = "{touch}"\n[core]\n\thooksPath = {scene.root}\n'
    )
    (scene.root / "post-checkout").write_text(f"#!/bin/sh\necho > {outside.victim}\n")
    (scene.root / "post-checkout").chmod(0o755)
    modules = new(".gitmodules", '[submodule "-u"] path = x url = ext::sh')
    folder = series(
        scene.root / "s",
        {"1.patch": new(".gitattributes", "* filter=evil"), "2.patch": new("fs/new.c"), "3.patch": modules},
    )
    return outcome_of(scene, [trying(scene, folder, "3 patches apply", code=0)], outside)
