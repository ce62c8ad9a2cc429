"""Objects that the configuration has no part in: which the compiler names, and who takes them."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from kmodpipe.build import neutral
from kmodpipe.build.neutral import NEUTRAL, OWN, Donor, Target
from kmodpipe.build.object_records import Said
from kmodpipe.build.reuse import SETTINGS
from tests.support.wrapper import wrapper

AUTO, AUTOCONF, RUST = (
    "include/config/auto.conf", "include/generated/autoconf.h", "include/generated/rustc_cfg",
)  # fmt: skip
CONFIG = 'CONFIG_TOY=m\nCONFIG_A=y\n# CONFIG_B is not set\nCONFIG_N=7\nCONFIG_S="y"\n'
LISTS = {
    AUTO: '#\n# Automatically generated\n#\nCONFIG_TOY=m\nCONFIG_A=y\nCONFIG_N=7\nCONFIG_S="y"\n',
    AUTOCONF: "/* made */\n#define CONFIG_A 1\n#define CONFIG_TOY_MODULE 1\n#define CONFIG_N 7\n/* end */\n",
    RUST: '--cfg=CONFIG_A\n--cfg=CONFIG_A="y"\n--cfg=CONFIG_TOY\n--cfg=CONFIG_TOY="m"\n',
}
EMPTY = "include/config/TOY"
SOURCE = {"fs/toy/toy.c": "1", "fs/toy/toy.h": "2", "fs/toy/Kconfig": "3"}
# As fixdep writes it.
RECORD = """\
cmd_fs/toy/{name}.o := gcc -include /src/include/linux/kconfig.h -c -o {name}.o /src/fs/toy/{name}.c

source_fs/toy/{name}.o := /src/fs/toy/{name}.c

deps_fs/toy/{name}.o := \\
  /src/fs/toy/{read} \\
    $(wildcard include/config/a.h) \\
  include/generated/toy.h \\
"""
ALL = {"toy.o", ".toy.o.cmd", "sub/more.o", "sub/.more.o.cmd", "sub/else.o", "sub/.else.o.cmd"}


def put(path: Path, text: str = "") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


class Module:
    """What a build left, and the artifact that it becomes."""

    def __init__(self, top: Path) -> None:
        self.left, self.folder = top / "left", top / "artifact"
        self.src, self.about = top / "src", set[str]()
        for name, read in (("toy", "toy.h"), ("sub/more", "../toy.h"), ("sub/else", "else.h")):
            folder, _, base = name.rpartition("/")
            for kind in (NEUTRAL, OWN):
                put(self.left / kind / f"{name}.o", name)
                record = RECORD.format(name=name, read=f"{folder}/{read}")
                put(self.left / kind / folder / f".{base}.o.cmd", record)
            put(self.src / f"fs/toy/{name}.c")
        put(self.src / "fs/toy/toy.h")
        put(self.folder / "out/cell.config", CONFIG)
        put(self.folder / ".inputs", json.dumps({"source": SOURCE}))
        for name, text in {**LISTS, "include/config/auto.conf.cmd": "commands", EMPTY: ""}.items():
            put(self.folder / SETTINGS / name, text)

    def keep(self, *symbols: str) -> set[str]:
        said = Said(self.src, "fs/toy", self.about)
        neutral.collect(self.left, self.folder, symbols or ("A", "B", "TOY", "N", "S"), said)
        top = self.folder / NEUTRAL
        return {str(path.relative_to(top)) for path in top.rglob("*") if path.is_file()}

    def donor(self, configuration: str = CONFIG, **edited: str) -> Donor | None:
        source = {**SOURCE, **{f"fs/toy/{name}": held for name, held in edited.items()}}
        return neutral.donor(self.folder, Target(configuration, self.src, source))

    def same(self, configuration: str = CONFIG, **edited: str) -> Donor | None:
        source = {**SOURCE, **{f"fs/toy/{name}": held for name, held in edited.items()}}
        return neutral.same_cell(self.folder, Target(configuration, self.src, source))

    @staticmethod
    def taken(donor: Donor, folder: Path) -> set[str]:
        made = donor.objects(folder)
        return {str(path.relative_to(made)) for path in made.rglob("*") if path.is_file()}

    def has_all(self, configuration: str = CONFIG, **edited: str) -> bool:
        source = {**SOURCE, **{f"fs/toy/{name}": held for name, held in edited.items()}}
        return neutral.has_all(self.folder, Target(configuration, self.src, source))

    def given(self, folder: Path, **edited: str) -> set[str]:
        """The objects for a source in which these files hold something else."""
        donor = self.donor(**edited)
        assert donor
        return self.taken(donor, folder)

    def derived(self, configuration: str, folder: Path) -> dict[str, str] | None:
        """The settings for another configuration, by name; None if there can be none."""
        donor = self.donor(configuration)
        assert donor
        if donor.derive(folder) is None:
            return None
        return {str(p.relative_to(folder)): p.read_text() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture
def module(tmp_path: Path) -> Module:
    return Module(tmp_path)


def test_objects_their_records_and_the_symbols_are_kept(module: Module) -> None:
    assert module.keep("B", "A") == {*(f"objects/{name}" for name in ALL), "symbols"}
    assert (module.folder / NEUTRAL / "symbols").read_text() == "A\nB\n"


ODD: dict[str, Callable[[Module], object]] = {
    "another kind of file": lambda m: put(m.left / NEUTRAL / "toy.c"),
    "a link": lambda m: (m.left / NEUTRAL / "x.o").symlink_to("/etc/passwd"),
    "nothing": lambda m: (m.left / NEUTRAL).rename(m.left / "else"),
    "no settings": lambda m: (m.folder / SETTINGS).rename(m.folder / "else"),
    "settings without a list": lambda m: (m.folder / SETTINGS / AUTOCONF).unlink(),
    # An object may be compiled from it, and is not in the objects' record of another configuration.
    "a header that was made as well": lambda m: put(m.folder / SETTINGS / "include/generated/bounds.h", "x"),
    "a file among the marks": lambda m: put(m.folder / SETTINGS / "include/config/x", "text"),
}  # fmt: skip


@pytest.mark.parametrize("odd", ODD.values(), ids=ODD.keys())
def test_of_what_is_odd_nothing_is_kept(module: Module, odd: Callable[[Module], object]) -> None:
    odd(module)
    assert module.keep() == set()
    assert module.donor() is None


@pytest.mark.parametrize("change", [("A=y", "A=m"), ("# CONFIG_B is not set", "CONFIG_B=y"), ("N=7", "N=8")])
def test_who_differs_in_another_symbol_takes_none(module: Module, change: tuple[str, str]) -> None:
    module.keep("TOY")
    assert module.donor() is not None
    assert module.donor(CONFIG.replace(*change)) is None


def test_a_symbol_without_a_line_is_one_that_is_not_set(module: Module) -> None:
    module.keep("TOY")
    assert module.donor(CONFIG.replace("# CONFIG_B is not set\n", "")) is not None


def test_of_the_same_source_all_are_taken_where_they_are(module: Module, tmp_path: Path) -> None:
    module.keep()
    assert module.given(tmp_path / "given") == ALL
    assert not (tmp_path / "given").exists()


EDITS = {
    "its own file": ({"toy.c": "9"}, {"toy"}),
    # By a name with .. in it too.
    "a header": ({"toy.h": "9"}, {"toy", "sub/more"}),
    "a file of none of them": ({"Kconfig": "9"}, set[str]()),
}  # fmt: skip


@pytest.mark.parametrize(("edit", "lost"), EDITS.values(), ids=EDITS.keys())
def test_after_an_edit_what_was_compiled_from_it_is_left_out(
    module: Module, tmp_path: Path, edit: dict[str, str], lost: set[str]
) -> None:
    module.keep()
    without = {f"{name}.o" for name in lost} | {_record(f"{name}.o") for name in lost}
    assert module.given(tmp_path / "given", **edit) == ALL - without
    # Who is to be the first of the new source would leave what is lost.
    assert module.has_all(**edit) is not bool(lost)


def _record(name: str) -> str:
    folder, slash, base = name.rpartition("/")
    return f"{folder}{slash}.{base}.cmd"


def test_a_header_is_known_behind_a_link(module: Module, tmp_path: Path) -> None:
    module.keep()
    (module.src / "fs/toy/sub/else.h").symlink_to("../toy.h")
    assert "sub/else.o" not in module.given(tmp_path / "given", **{"toy.h": "9"})


def test_a_header_is_known_in_a_folder_behind_a_link(module: Module, tmp_path: Path) -> None:
    module.keep()
    linked = module.folder / NEUTRAL / "objects/sub/.else.o.cmd"
    linked.write_text(linked.read_text().replace("/src/fs/toy/sub/else.h", "/src/include/toy/toy.h"))
    put(module.src / "include/x")
    (module.src / "include/toy").symlink_to("../fs/toy")
    assert "sub/else.o" not in module.given(tmp_path / "given", **{"toy.h": "9"})


def test_an_object_without_a_record_is_left_out_after_an_edit(module: Module, tmp_path: Path) -> None:
    module.keep()
    (module.folder / NEUTRAL / "objects/sub/.else.o.cmd").unlink()
    assert module.given(tmp_path / "given", **{"toy.h": "9"}) == set()
    assert not module.has_all(Kconfig="9")


def test_what_the_compiler_complained_of_is_left_to_nobody(module: Module, tmp_path: Path) -> None:
    module.about = {"fs/toy/toy.h"}
    assert module.keep() == {"symbols", "objects/sub/else.o", "objects/sub/.else.o.cmd"}
    assert module.given(tmp_path / "given") == {"sub/else.o", "sub/.else.o.cmd"}
    assert {path.name for path in (module.folder / OWN).rglob("*.o")} == {"else.o"}


def test_the_same_cell_takes_of_its_state_before_what_was_compiled_from_no_edited_file(
    module: Module, tmp_path: Path
) -> None:
    for path in (module.left / NEUTRAL).rglob("*toy.o*"):
        path.unlink()
    module.keep("A")
    same = module.same(**{"toy.c": "9"})
    assert same is not None
    # toy.o reads symbols: it is none of the neutral ones. Its record is in its own folder.
    assert module.taken(same, tmp_path / "given") == ALL - {"toy.o", ".toy.o.cmd"}
    other = module.same(**{"Kconfig": "9"})
    assert other is not None and module.taken(other, tmp_path / "all") == ALL


@pytest.mark.parametrize("change", [("A=y", "A=m"), ("# CONFIG_B is not set", "CONFIG_B=y"), ("N=7", "N=8")])
def test_another_cell_is_not_the_same(module: Module, change: tuple[str, str]) -> None:
    module.keep()
    assert module.same() is not None
    assert module.same(CONFIG.replace(*change)) is None


def test_who_left_none_of_its_own_or_has_another_file_is_not_the_same(module: Module) -> None:
    assert module.same() is None
    module.keep()
    assert module.same(**{"new.c": "1"}) is None


@pytest.mark.parametrize("edit", [{"new.c": "1"}, {"new.h": "1"}])
def test_who_has_another_file_takes_none(module: Module, edit: dict[str, str]) -> None:
    module.keep()
    assert module.donor(**edit) is None
    assert not module.has_all(**edit)


def test_the_settings_of_the_same_configuration_are_the_same(module: Module, tmp_path: Path) -> None:
    module.keep()
    same = {**LISTS, "include/config/auto.conf.cmd": "commands", EMPTY: ""}
    assert module.derived(CONFIG, tmp_path / "derived") == same


def test_each_list_and_mark_says_what_the_configuration_says(module: Module, tmp_path: Path) -> None:
    module.keep()
    other = CONFIG.replace("A=y", "A=m").replace("# CONFIG_B is not set", "CONFIG_B=y")
    found = module.derived(other.replace("CONFIG_TOY=m", "# CONFIG_TOY is not set"), tmp_path / "derived")
    assert found is not None
    assert sorted(found[AUTO].splitlines()[3:]) == ["CONFIG_A=m", "CONFIG_B=y", "CONFIG_N=7", 'CONFIG_S="y"']
    defined = found[AUTOCONF].splitlines()
    assert (defined[0], defined[-1]) == ("/* made */", "/* end */")
    assert sorted(defined[1:-1]) == ["#define CONFIG_A_MODULE 1", "#define CONFIG_B 1", "#define CONFIG_N 7"]
    rust = ["--cfg=CONFIG_A", '--cfg=CONFIG_A="m"', "--cfg=CONFIG_B", '--cfg=CONFIG_B="y"']
    assert sorted(found[RUST].splitlines()) == rust
    marks = {name for name, text in found.items() if not text}
    assert marks == {f"include/config/{name}" for name in ("A", "a.h", "B", "b.h", "TOY", "toy.h")}


def test_an_early_kernels_mark_has_folders(module: Module, tmp_path: Path) -> None:
    module.keep("TOY_MORE_OF_IT")
    found = module.derived(f"{CONFIG}CONFIG_TOY_MORE_OF_IT=y\n", tmp_path / "derived")
    assert found is not None and "include/config/toy/more/of/it.h" in found


@pytest.mark.parametrize("change", [("N=7", "N=8"), ('S="y"', 'S="n"'), ("CONFIG_N=7\n", "")])
def test_numbers_and_texts_are_left_to_kconfig(
    module: Module, tmp_path: Path, change: tuple[str, str]
) -> None:
    module.keep()
    assert module.derived(CONFIG.replace(*change), tmp_path / "derived") is None


# What a file of C says, and whether a symbol that may differ (A is set, B is not) has a part in its object.
TEXTS = {
    "nothing": ("int x;", False),
    "another symbol": ("int x = CONFIG_C;\n#ifdef CONFIG_D\n#endif", False),
    "in a comment": ("/* CONFIG_A */ // CONFIG_B", False),
    "in what is left out": ("#if 0\nCONFIG_A\n#endif", False),
    "a value": ("int x = CONFIG_A;", True),
    "whether it is defined": ("#ifdef CONFIG_B\n#endif", True),
    "of a module": ("#if defined(CONFIG_B_MODULE)\n#endif", True),
    "in a header": ('#include "own.h"', True),
    "pasted": ("#define P(x) CONFIG_##x\nint P(B);", True),
    "pasted of halves": ("#define P(x, y) x##y\nint P(CON, FIG_B);", True),
    "pasted of a module": ("#define P(x) CONFIG_##x##_MODULE\nint P(A);", True),
    "pasted of another": ("#define P(x) CONFIG_##x\nint P(BC);", False),
    "as a text": ("#define T(x) #x\nchar *x = T(CONFIG_B);", True),
    "over a line's end": ("int CONFIG\\\n_B;", True),
    "whether a mark is there": ('#if __has_include("config/b.h")\n#endif', True),
    "read by the assembler": ('asm(".incbin \\"include/generated/autoconf.h\\"");', True),
    "with an error": ("#error no", True),
}  # fmt: skip


@pytest.mark.parametrize(("text", "has_a_part"), TEXTS.values(), ids=TEXTS.keys())
def test_the_compiler_tells_which_objects_meet_no_symbol(
    tmp_path: Path, text: str, *, has_a_part: bool
) -> None:
    put(tmp_path / "obj/include/generated/autoconf.h", "#define CONFIG_A 1\n#define CONFIG_C 2\n")
    put(tmp_path / "src/kconfig.h", "#include <generated/autoconf.h>\n")
    put(tmp_path / "src/fs/toy/own.h", "#define OWN CONFIG_A\n")
    put(tmp_path / "src/fs/toy/toy.c", f"{text}\n")
    (tmp_path / "obj/fs/toy").mkdir(parents=True)
    named = _named(tmp_path, f"{tmp_path}/src/fs/toy/toy.c")
    assert named == ([] if has_a_part else ["fs/toy/toy.o"])


def test_only_what_stands_in_the_modules_folder_of_the_tree_is_named(tmp_path: Path) -> None:
    put(tmp_path / "obj/include/generated/autoconf.h")
    put(tmp_path / "src/kconfig.h", "#include <generated/autoconf.h>\n")
    put(tmp_path / "obj/fs/toy/made.c", "int made;\n")
    put(tmp_path / "src/fs/other.c", "int other;\n")
    assert _named(tmp_path, "fs/toy/made.c") == []
    assert _named(tmp_path, f"{tmp_path}/src/fs/other.c", object_name="fs/other.o") == []


def test_what_does_not_read_the_configuration_from_there_is_not_named(tmp_path: Path) -> None:
    put(tmp_path / "src/kconfig.h")
    put(tmp_path / "src/fs/toy/toy.c", "int x;\n")
    (tmp_path / "obj/fs/toy").mkdir(parents=True)
    assert _named(tmp_path, f"{tmp_path}/src/fs/toy/toy.c") == []


def _named(top: Path, source: str, object_name: str = "fs/toy/toy.o") -> list[str]:
    """Run the compiler's wrapper as the recipe has it run; return the objects that it named."""
    poison = top / "poison"
    symbols = "CONFIG_A CONFIG_A_MODULE CONFIG_B CONFIG_B_MODULE __has_include"
    text = f"#include_next <generated/autoconf.h>\n#pragma GCC poison {symbols}\n"
    put(poison / "generated/autoconf.h", text)
    subprocess.run(
        [str(wrapper()), "-Iinclude", "-include", str(top / "src/kconfig.h"),
         "-c", "-o", object_name, source],
        cwd=top / "obj",
        env={"PATH": "/usr/bin:/bin", "SRC": str(top / "src"), "FOLDER": "fs/toy", "POISON": str(poison),
             "PROBES": "probes"},
        check=False,
        capture_output=True,
    )  # fmt: skip
    found = poison / "neutral"
    return found.read_text().split() if found.exists() else []
