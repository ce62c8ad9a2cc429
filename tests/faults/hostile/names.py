"""Names of everything that has one: cells, axes, flavours, modules, scripts, folders."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.faults import REPO, Outcome, Scene
from tests.faults.hostile.base import Outside, Try, fault, outcome_of, problems_of
from tests.faults.hostile.builds import Tiny

ODD = "-odd: $(touch x);`touch x`'\"&|<*?[a]{b}\\,=%s\n\u202eé#~"
"""A folder's name with everything that some shell, make, git, Docker, QEMU or terminal takes for its own."""
CELL = "unpatched.INDEX=y.NOUUID=n"


@fault(
    "names-on-the-command-line",
    "patterns, flavours, modules, series and scripts with newlines, dashes, .., shell characters",
)
def on_the_command_line(scene: Scene) -> Outcome:
    outside = Outside(scene)
    touch = f"$(echo > {outside.victim})"
    pipe = scene.root / "pipe"
    os.mkfifo(pipe)
    secret = scene.root / "linked"
    secret.symlink_to(outside.canary)
    module, cell = "not a module folder", "unknown cell"
    wanted = {
        ("plan", f"--cell={touch}"): cell,
        ("plan", "--cell=-x"): cell,
        ("plan", "--cell=a\n✓ all is well"): r"unknown cell 'a\\n",
        ("plan", "--cell=\x1b[2J\u202e"): r"unknown cell '\\x1b\[2J\\u202e",
        ("plan", "--cell=[[[*?"): cell,
        ("plan", f"--cell={'x' * 100_000}"): cell,
        ("plan", f"--flavour={touch}"): "unknown flavour",
        ("plan", "--module=../../outside"): "the module's source is no folder",
        ("plan", "--module=fs/../../outside"): module,
        ("plan", f"--module={touch}"): module,
        ("plan", "--module=fs/overlayfs --eval=x"): module,
        ("plan", "--module=--eval=x"): f"{module}|cannot begin with a dash",
        ("plan", "--module=fs\nx"): module,
        ("plan", "--module=fs/.git"): module,
        ("plan", f"--series={touch}"): "no such series|unknown series",
        ("plan", "--series=-x"): "unknown series",
        ("plan", f"--series={'x' * 6000}"): "unknown series",
        ("plan", f"--series={pipe}"): "neither a folder nor a file",
        ("plan", f"--series={secret}"): "git cannot read|carries a patch",
        ("plan", f"--matrix={'x' * 6000}"): "matrix file cannot be read|does not exist",
        ("plan", f"--matrix={pipe}"): "the matrix file is not a file",
        ("plan", "--matrix=/dev/zero"): "the matrix file is not a file",
        ("plan", f"--matrix={secret}"): "not TOML",
        ("plan", f"--runtime={touch}"): "unknown runtime",
        ("test", f"--case={touch}/x"): "the case script cannot be read",
        ("test", f"--case={pipe}"): "the case script is not a file",
        ("test", "--case=/dev/zero"): "the case script is not a file",
        ("test", f"--case={secret}"): "begins neither with #! nor as an ELF",
        ("test", f"--case=./{'x' * 6000}"): "cannot be read|unknown case",
        ("test", f"--shuffle={touch}"): "--shuffle takes a number",
        ("report", f"--run={'x' * 6000}"): "there is no run",
    }
    tries = [Try(" ".join(words)[:60], words, says) for words, says in wanted.items()]
    return outcome_of(scene, tries, outside)


@fault("names-in-the-matrix", "axes, values, flavours and fragments that are paths, commands or too many")
def in_the_matrix(scene: Scene) -> Outcome:
    outside = Outside(scene)
    folder = scene.root / "m"
    folder.mkdir()
    (folder / "linked.config").symlink_to(outside.canary)
    os.mkfifo(folder / "pipe.config")
    axes = "".join(f'[axes.A{n}]\nsymbol = "S{n}"\n' for n in range(40))
    name = "A" * 250
    wanted = {
        'module = "fs/../../x"': "not a module folder",
        'base = "$(touch x)config"': "base: ",
        'fragments = ["../outside/canary"]': "not the name of a fragment",
        f'fragments = ["{outside.canary}"]': "not the name of a fragment",
        'fragments = ["linked.config"]': "is a link out of the matrix file's folder",
        'fragments = ["pipe.config"]': "is not a file",
        f"{axes}": "and the limit is 20000",
        f'[axes.{name}]\nsymbol = "X"\n': "a cell's name would be longer than 200 bytes",
        '[axes."A/../.."]\nsymbol = "X"\n': "an axis is named in capitals",
        '[axes."$(touch x)"]\nsymbol = "X"\n': "an axis is named in capitals",
        '[axes.A]\nsymbol = "X=y\\nCONFIG_EVIL"\n': "axes.A.symbol: ",
        '[axes.A]\nsymbol = "X"\nvalues = ["y", "../x"]\n': "axes.A.values: ",
        '[axes.A]\nsymbol = "X"\nvalues = ["y", "y;touch x"]\n': "axes.A.values: ",
        '[flavours."../x"]\nsummary = "what"\n': "cannot be a flavour's name",
        '[flavours.x]\nsummary = "what"\ntools = ["../x"]\n': "flavours.x.tools: ",
        '[flavours.x]\nsummary = "what"\nenv = { "A=b\\nC" = "d" }\n': "flavours.x.env: ",
        "x = " + "[" * 5000: "not TOML",
    }
    tries = []
    for number, (text, says) in enumerate(wanted.items()):
        path = folder / f"{number}.toml"
        # Where the text does not say it: what is wrong with it must not be that.
        path.write_text(text if text.startswith("module") else f'module = "fs/x"\n{text}')
        tries.append(Try(text[:60], ("plan", "--matrix", path, "--series", "none"), says))
    return outcome_of(scene, tries, outside)


@dataclass(frozen=True)
class _Odd(Scene):
    """A scene whose every folder has an odd name."""

    @property
    def cache(self) -> Path:
        return self.root / ODD / "cache"

    @property
    def out(self) -> Path:
        return self.root / ODD / "out"


@fault(
    "odd-cache",
    "a cache, results, home and TMPDIR with odd names: built in a container all the same",
)
def odd_cache(scene: Scene) -> Outcome:
    outside, tiny = Outside(scene), Tiny.make(scene)
    odd = _Odd(scene.root, {"HOME": str(scene.root / ODD / "home"), "TMPDIR": str(scene.root / ODD / "tmp")})
    for name in ("home", "tmp"):
        (scene.root / ODD / name).mkdir(parents=True)
    (scene.root / ODD / "series" / "s").mkdir(parents=True)
    ended = odd.invoke(*tiny.words({}))
    problems = [*problems_of(Try("odd cache", (), "✓ unpatched", 0), ended), *outside.problems(ended.text)]
    problems += _touched(scene.root)
    return Outcome("nothing to report: it is built", ended.code, "the cell", tuple(problems))


def _touched(*folders: Path) -> list[str]:
    """What a shell would have made of the odd name."""
    places = {*folders, Path.cwd(), REPO, *(f / ODD for f in folders)}
    return [f"run by a shell: {place}/x" for place in places if (place / "x").exists()]


@fault(
    "odd-checkout",
    "a checkout, results and a script with odd names: tested, and reproduce.sh boots the cell again",
)
def odd_checkout(scene: Scene) -> Outcome:
    outside = Outside(scene)
    checkout = scene.root / ODD / "checkout"
    checkout.mkdir(parents=True)
    for name in ("tasks.py", "pyproject.toml"):
        shutil.copy(REPO / name, checkout)
    for name in ("kconfigs", "patches", "images"):
        shutil.copytree(REPO / name, checkout / name)
    script = scene.root / ODD / f"{ODD}.sh"
    script.write_text("#!/bin/sh\necho through\n")
    odd = _Odd(scene.root)
    warm = {"KMODPIPE_CACHE": os.environ.get("KMODPIPE_CACHE", str(Path.home() / ".cache/kmodpipe"))}
    ended = odd.invoke(
        "test", "--no-control", "--cell", CELL, "--series", "none", "--case", script, env=warm, cwd=checkout
    )
    problems = [*problems_of(Try("odd checkout", (), "results: ", 0), ended), *outside.problems(ended.text)]
    run = json.loads((odd.latest / "results.json").read_text())["run"]
    if [case["verdict"] for cell in run["cells"] for case in cell["cases"] if cell["cell"] == CELL] != [
        "pass"
    ]:
        problems.append(f"not passed: {run['cells']}")
    again = odd.latest / CELL / "reproduce.sh"
    for words in (["sh", "-n", again], ["sh", again]):
        done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False, cwd=scene.root)
        if done.returncode != 0:
            problems.append(f"{words[:-1]}: {done.returncode} {done.stdout[-200:]} {done.stderr[-200:]}")
    problems += _touched(scene.root, checkout)
    return Outcome(
        "nothing to report: it is tested", ended.code, "the cell, and a script that boots it", tuple(problems)
    )


@fault("odd-results", "results where none can be: a file, a folder called latest, a name that is too long")
def odd_results(scene: Scene) -> Outcome:
    outside, tiny = Outside(scene), Tiny.make(scene)
    problems: list[str] = []
    words = tiny.words({})
    made = {
        "a file": (outside.victim, "the results folder cannot be made"),
        "latest": (scene.root / "taken", "latest cannot be made"),
        "long": (scene.root / ("x" * 300), "the results folder cannot be made"),
    }
    (scene.root / "taken/latest/mine").mkdir(parents=True)
    sentences = []
    for name, (out, says) in made.items():
        ended = _At(scene.root, out=out).invoke(*words)
        problems += problems_of(Try(name, (), says, 2), ended)
        sentences.append(ended.sentence())
    if not (scene.root / "taken/latest/mine").is_dir():
        problems.append("somebody's folder called latest is gone")
    problems += outside.problems("".join(sentences))
    return Outcome(sentences[0], 2, "somebody's own files", tuple(problems))


@dataclass(frozen=True)
class _At(Scene):
    """A scene with its results elsewhere."""

    out: Path = Path()
