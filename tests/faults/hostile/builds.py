"""Makefiles and Kconfig files that run commands of their own.

The tree is a few files whose Makefile does what the recipes ask of kbuild, in real containers; each hostile
series of a run is a variant of it. The last fault has the real tree.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.faults import Ended, Outcome, Scene
from tests.faults.hostile.archives import serving
from tests.faults.hostile.base import Outside, Try, fault, problems_of
from tests.faults.hostile.patches import series
from tests.support.trees import write

MAKEFILE = """\
VERSION = 5
PATCHLEVEL = 10
SUBLEVEL = 7
EXTRAVERSION = -tiny
include $(CURDIR)/fs/tiny/Makefile
-include $(CURDIR)/init/Makefile
allnoconfig:
\t@cp $(KCONFIG_ALLCONFIG) $(KCONFIG_CONFIG)
bzImage:
\t@mkdir -p $(O)/arch/x86/boot
\t@echo 'int kernel;' | gcc -c -x c - -o $(O)/vmlinux
\t@echo kernel > $(O)/arch/x86/boot/bzImage
\t@touch $(O)/System.map $(O)/Module.symvers
\t@echo fs/tiny/tiny.ko > $(O)/modules.order
modules modules_prepare: ;
%.ko:
\t@mkdir -p $(O)/fs/tiny
\t@$(CC) -c $(CURDIR)/$*.c -o $(O)/$@
"""
TREE = {
    "Makefile": MAKEFILE,
    "Kconfig": 'mainmenu "tiny"\nsource "fs/tiny/Kconfig"\n',
    "scripts/nothing": "",
    "init/nothing": "",
    "fs/tiny/Kconfig": "config TINY\n\ttristate\n",
    "fs/tiny/Makefile": "obj-$(CONFIG_TINY) += tiny.o\n",
    "fs/tiny/tiny.c": "int tiny;\n",
}
NEW = "diff --git a/{0} b/{0}\nnew file mode 100644\n--- /dev/null\n+++ b/{0}\n"
MATRIX = 'base = "tinyconfig"\nmodule = "fs/tiny"\nfragments = ["tiny.config"]\n'


def hooked(when: str, script: str, *, rule: str = "") -> str:
    """A patch that has make run ``script`` (for sh) ``when``: ``configure``, ``module`` or ``base``; ``rule``
    is one more line of its Makefile."""
    goal = {"configure": "allnoconfig", "module": "fs/tiny/tiny.ko", "base": "bzImage"}[when]
    # Outside the module's folder: such a series gets a base of its own.
    folder = "init" if when == "base" else "fs/tiny"
    lines = [
        f"ifneq ($(filter {goal},$(MAKECMDGOALS)),)",
        f"$(info $(shell sh /src/{folder}/hook 2>&1))",
        "endif",
        *([rule] if rule else []),
    ]
    return _brings(folder, lines, script)


def ruled(script: str) -> str:
    """A patch that has make run ``script`` for the module, by a rule: its base is the control's."""
    lines = ["fs/tiny/tiny.ko: hook", ".PHONY: hook", "hook: ; @sh /src/fs/tiny/hook"]
    return _brings("fs/tiny", lines, script)


def _brings(folder: str, lines: Sequence[str], script: str) -> str:
    """A patch with more lines of a folder's Makefile, and a script."""
    added = "".join(f"+{line}\n" for line in lines)
    make = f"{NEW.format('init/Makefile')}@@ -0,0 +1,{len(lines)} @@\n{added}"
    if folder != "init":
        names = f"a/{folder}/Makefile b/{folder}/Makefile"
        head = f"diff --git {names}\n--- a/{folder}/Makefile\n+++ b/{folder}/Makefile\n"
        make = f"{head}@@ -1 +1,{len(lines) + 1} @@\n obj-$(CONFIG_TINY) += tiny.o\n{added}"
    hook = script.strip("\n").split("\n")
    text = "".join(f"+{line}\n" for line in hook)
    return f"{make}{NEW.format(f'{folder}/hook')}@@ -0,0 +1,{len(hook)} @@\n{text}"


@dataclass(frozen=True)
class Tiny:
    """The tiny tree, its matrix, and the command that builds series of it."""

    root: Path

    @classmethod
    def make(cls, scene: Scene) -> Tiny:
        write(scene.root / "tiny", TREE)
        write(scene.root, {"m/matrix.toml": MATRIX, "m/tiny.config": "CONFIG_TINY=m\n"})
        return cls(scene.root)

    def words(self, patches: Mapping[str, str]) -> list[str | Path]:
        words: list[str | Path] = [
            "build",
            "--tree",
            self.root / "tiny",
            "--matrix",
            self.root / "m/matrix.toml",
            # Some series are about the kernel around it.
            "--module",
            "fs/tiny",
        ]
        for name, text in patches.items():
            words += ["--series", series(self.root / name, {"1.patch": text})]
        return words if patches else [*words, "--series", "none"]


def told(ended: Ended, variant: str) -> str:
    """What the screen says of one variant's cell: its error up to the next, or that it was built."""
    text = ended.out + "\n" + ended.err
    errors = re.split(r"(?m)^error: ", ended.err)[1:]
    # An error names the variant in its first line or in the path of its log.
    own = [error for error in errors if re.search(rf"\b{re.escape(variant)}\b", error)]
    if variant == "kernel-link":
        own = own or [error for error in errors if error.startswith("what the build of the kernel base left")]
    return own[0] if own else ("built" if f"✓ {variant}" in text else "")


def untold(ended: Ended, wanted: Mapping[str, tuple[str, str]]) -> list[str]:
    """The variants of which the screen does not say what it must, the second of each pair."""
    return [
        f"{name}: {told(ended, name)[:300]!r}"
        for name, (_, says) in wanted.items()
        if not re.search(says, told(ended, name))
    ]


# The build fails where the script did.
FAILING = "$(if $(filter-out 0,$(.SHELLSTATUS)),$(error the script failed))"
DEEP = "cd /obj; i=0; while mkdir deeper && cd deeper && [ $i -lt 1500 ]; do i=$((i+1)); done"
ODD_OBJECTS = """\
cd /obj
cp /bin/true suid && chmod 6755 suid
mkfifo pipe
mkdir -m 000 closed
ln -s {0} link
touch 'a
;$(touch x)'
"""


@fault(
    "build-products",
    "series whose build leaves links, pipes, holes, folders and rubbish where products are taken",
)
def products(scene: Scene) -> Outcome:
    outside, tiny = Outside(scene), Tiny.make(scene)
    obj = "/obj/fs/tiny"
    wanted = {
        "link-beside": (
            hooked("module", f"ln -s {outside.canary} /out/evil.ko"),
            "'evil.ko' is a symbolic link",
        ),
        "link-to-write": (
            hooked("configure", f"ln -s {outside.victim} /out/illegal.json"),
            "'illegal.json' is a symbolic link",
        ),
        "link-instead": (
            hooked("module", f"ln -s {outside.victim} /out/cell.config"),
            "does not build|symbolic link",
        ),
        "link-in-objects": (
            hooked("module", f"mkdir -p {obj}; ln -sf /etc/passwd {obj}/tiny.ko", rule="fs/tiny/tiny.ko: ;"),
            "not a readable ELF file",
        ),
        "kernel-link": (hooked("base", f"ln -s {outside.canary} /out/evil"), "'evil' is a symbolic link"),
        "pipe": (hooked("module", "mkfifo /out/evil.ko"), "'evil.ko' is a pipe"),
        "folder": (hooked("module", "mkdir /out/tiny.ko"), "is a folder|does not build"),
        "unasked": (hooked("module", "cp /bin/true /out/b.ko"), "'b.ko' is a product that was not requested"),
        "other-config": (hooked("module", "echo CONFIG_EVIL=y >> /obj/.config"), "the configuration changed"),
        # Objects of a module are not kept, those of a configuration are.
        "deep": (hooked("module", DEEP), "built"),
        "far-down": (hooked("configure", DEEP), "has a path of more than 4000 bytes"),
        "odd-objects": (hooked("module", ODD_OBJECTS.format(outside.canary)), "built"),
    }
    ended = scene.invoke(*tiny.words({name: patch for name, (patch, _) in wanted.items()}))
    problems = untold(ended, wanted)
    problems += problems_of(Try("products", (), "unpatched", 1), ended)
    problems += outside.problems(ended.text)
    problems += _kept_with_rights(scene)
    return Outcome(
        ended.sentence(),
        ended.code,
        f"the control and {ended.out.count('✓ ')} variants built",
        tuple(problems),
    )


def _kept_with_rights(scene: Scene) -> Iterator[str]:
    for path in (scene.cache / "store").rglob("*"):
        mode = path.lstat().st_mode
        if not stat.S_ISLNK(mode) and mode & (stat.S_ISUID | stat.S_ISGID):
            yield f"kept with its owner's rights: {path}"


# What runs in the build. A line of its output with OPEN in it is a hole.
PROBE = r"""
for path in {outside}/canary {cache} {out} /etc/shadow /proc/1/environ /var/run/docker.sock /run/docker.sock
do
    if cat "$path" >/dev/null 2>&1 || ls "$path"/* >/dev/null 2>&1; then echo "OPEN read $path"; fi
done 2>/dev/null | grep -v 'read /proc/1/environ'
own='HOME|PATH|HOSTNAME|MAKEFLAGS|KCFLAGS|KBUILD.*|LOCALVERSION|SOURCE_DATE_EPOCH|LC_ALL|JOBS|BASE'
own="$own|RECIPE|SRC|ASK|OBJ|OUT|TOOLS|KIT|TARGETS|FOLDER|KEEP|LEFT|OBJECTS|SETTINGS|GIVEN|SAME|REMEMBER|PREPARED"
tr '\0' '\n' < /proc/1/environ 2>/dev/null | grep -v -E "^($own)=" | sed 's/^/OPEN environment /'
ours='/src /src/fs/tiny/tiny.c /recipe /recipe/cc.c /ask /objects /settings /given'
# The build of a base makes it.
[ -z "$FOLDER" ] || ours="$ours /kit"
for path in $ours / /etc/passwd /usr/bin/gcc {outside}/victim
do
    [ -e "$path" ] || continue
    if (echo x >> "$path" || echo x > "$path/new") 2>/dev/null; then echo "OPEN write $path"; fi
done
bash -c "exec 3<>/dev/tcp/{host}/{port}" 2>/dev/null && echo "OPEN network {host}:{port}"
getent hosts debian.org deb.debian.org >/dev/null && echo "OPEN names"
mknod /tmp/device c 1 3 2>/dev/null && echo "OPEN device"
mount -t tmpfs x /tmp 2>/dev/null && echo "OPEN mount"
[ "$(id -u)" = 0 ] && echo "OPEN root"
limit=$(cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2>/dev/null | head -n 1)
echo "PROBED memory=$limit"
"""


# A name that ccache alone can tell, and the object of another source under it.
POISON = """\
[ -n "$LAUNCHER" ] || exit 1
kept=$LEFT/objects
echo 'int poison;' > /tmp/poison.c
$LAUNCHER gcc -c /tmp/poison.c -o /tmp/poison.o
mkdir /tmp/evil && cp $kept/??????????????????* /tmp/evil/
$LAUNCHER gcc -c /src/fs/tiny/tiny.c -o /tmp/tiny.o
for name in $kept/??????????????????*; do cat /tmp/evil/* > $name; done
"""


@fault(
    "build-leaves-objects",
    "a series whose build leaves objects for others that are not of their source: nobody else takes one",
)
def leaves_objects(scene: Scene) -> Outcome:
    tiny = Tiny.make(scene)
    honest = (
        "--- a/fs/tiny/Kconfig\n+++ b/fs/tiny/Kconfig\n"
        "@@ -1,2 +1,4 @@\n config TINY\n \ttristate\n+config MORE\n+\tbool\n"
    )
    first = scene.invoke(*tiny.words({"poison": ruled(POISON)}), "--no-control")
    own = _poisoned(scene)
    later = scene.invoke(*tiny.words({"again": ruled(f"{POISON}true"), "honest": honest}))
    problems = [f"ended with {ended.code}: {ended.err[-500:]}" for ended in (first, later) if ended.code]
    # A series' own module is what it makes of it: else nothing was tried.
    if (own, found := _poisoned(scene)) != (1, 2):
        problems.append(f"of 1 module {own} is poisoned, of 4 {found}; that is for the series that do it")
    return Outcome(later.sentence(), later.code, f"{found} of 4 modules, their own", tuple(problems))


def _poisoned(scene: Scene) -> int:
    modules = (scene.cache / "store/module").glob("*/out/tiny.ko")
    return sum(b"poison" in path.read_bytes() for path in modules)


@fault(
    "build-looks-around",
    "a series whose build reads the host, the network, other cells and the cache, and writes there",
)
def looks_around(scene: Scene) -> Outcome:
    outside, tiny = Outside(scene), Tiny.make(scene)
    hits: list[str] = []

    def answer(asked: object) -> None:
        hits.append("hit")

    with serving(answer) as url:
        host, _, port = url.rpartition("/")[2].partition(":")
        probe = PROBE.format(outside=outside.folder, cache=scene.cache, out=scene.out, host=host, port=port)
        patches = {f"probe-{when}": hooked(when, probe) for when in ("configure", "module", "base")}
        ended = scene.invoke(*tiny.words(patches))
    problems = list(outside.problems(ended.text))
    if ended.code != 0:
        problems.append(f"exit code {ended.code}: {ended.text[-400:]}")
    logs = [path.read_text("utf-8", "replace") for path in scene.latest.rglob("*.log")]
    holes = sorted({line for log in logs for line in re.findall(r"OPEN [^\n]*", log)})
    probed = [line for log in logs for line in re.findall(r"PROBED memory=(\d+)", log)]
    if len(probed) < 3:
        problems.append(f"probed {len(probed)} times, not 3")
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    problems += [f"no bound on memory: {limit}" for limit in probed if int(limit) > machine]
    problems += holes + hits
    return Outcome("nothing to report: the build saw nothing of it", ended.code, "all cells", tuple(problems))


@fault(
    "build-takes-all",
    "series whose build forks without end, fills /tmp, wants a file of a terabyte, kills its parent",
)
def takes_all(scene: Scene) -> Outcome:
    outside, tiny = Outside(scene), Tiny.make(scene)
    wanted = {
        "forks": (
            # Each waits for somebody who writes to the pipe.
            "exec >/tmp/o 2>&1; mkfifo /tmp/f; for i in $(seq 5000); do read x </tmp/f & done",
            "does not build",
        ),
        "fills-tmp": ("head -c 3G /dev/zero > /tmp/zeros", "does not build"),
        "terabyte": ("truncate -s 1T /obj/holes", "does not build"),
        "prints": ("yes error: all is lost | head -c 20000000; exit 1", "does not build"),
        "kills": ("kill -9 -1", "was killed"),
    }
    patches = {name: hooked("module", script, rule=FAILING) for name, (script, _) in wanted.items()}
    ended = scene.invoke(*tiny.words(patches))
    problems = untold(ended, wanted)
    problems += problems_of(Try("takes all", (), "✓ unpatched", 1), ended)
    problems += outside.problems(ended.text)
    return Outcome(ended.sentence(), ended.code, "the control's cell", tuple(problems))


def _kconfig_patch() -> str:
    """Against the real tree: a symbol whose default runs a command, and a Makefile that does."""
    token = secrets.token_hex(8)  # new in every run: the cache must not know it
    probe = "cat /etc/shadow /proc/1/mem; ln -s /etc/hostname /out/evil.ko"
    return (
        "diff --git a/fs/overlayfs/Makefile b/fs/overlayfs/Makefile\n"
        "--- a/fs/overlayfs/Makefile\n+++ b/fs/overlayfs/Makefile\n"
        "@@ -3,5 +3,6 @@\n # Makefile for the overlay filesystem.\n #\n \n"
        f"+$(info $(shell : {token}; {probe}))\n"
        " obj-$(CONFIG_OVERLAY_FS) += overlay.o\n \n"
    )


@fault(
    "build-of-the-real-tree",
    "a series that runs commands in the real tree's build: its cell fails, the control's does not",
)
def real_tree(scene: Scene) -> Outcome:
    outside = Outside(scene)
    folder = series(scene.root / "evil", {"1.patch": _kconfig_patch()}, toml='module = "fs/overlayfs"\n')
    warm = {"KMODPIPE_CACHE": os.environ.get("KMODPIPE_CACHE", str(Path.home() / ".cache/kmodpipe"))}
    ended = scene.invoke("build", "--series", folder, "--cell", "*.INDEX=y.NOUUID=n", env=warm)
    problems = list(
        problems_of(Try("real tree", (), "'evil.ko' is a symbolic link to '/etc/hostname'", 1), ended)
    )
    problems += outside.problems(ended.text)
    if "✓ unpatched.INDEX=y.NOUUID=n" not in ended.out:
        problems.append("the control's cell is not built")
    return Outcome(ended.sentence(), ended.code, "the control's cell", tuple(problems))


@fault("build-on-the-host", "--runtime host: no isolation, and it is said; a folder that make cannot work in")
def on_the_host(scene: Scene) -> Outcome:
    from tests.support import toy

    problems: list[str] = []
    world = toy.build(scene.root / "toy")
    ended = world.invoke("test", "--runtime", "host")
    if ended.code != 0:
        return Outcome(ended.text[-600:], ended.code, "", ("the toy world does not run",))
    if "without isolation" not in ended.err:
        problems.append("nothing says that the build is not isolated")
    properties = json.loads((world.latest / "results.json").read_text())["run"]["properties"]
    if (properties.get("builder.runtime"), properties.get("builder.isolation")) != ("host", "none"):
        problems.append("the results do not say that the build was not isolated")
    refused = world.invoke("build", "--runtime", "host", KMODPIPE_CACHE=str(scene.root / "a cache"))
    if refused.code != 2 or "make cannot work in a folder of this name" not in refused.err:
        problems.append(f"a folder with a space: {refused.code} {refused.text[-300:]}")
    said = Ended(refused.code, refused.out, refused.err).sentence()
    return Outcome(said, refused.code, "", tuple(problems))
