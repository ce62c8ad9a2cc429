"""What is taken from the folder in which a module was built, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from kmodpipe.build.external_products import collect
from kmodpipe.util.errors import KernelFailure


@pytest.fixture
def made(tmp_path: Path) -> Path:
    for name in ("obj/a.ko", "obj/sub/b-b.ko", "obj/Module.symvers", "obj/a.o", "out/"):
        path = tmp_path / name
        (path if name.endswith("/") else path.parent).mkdir(parents=True, exist_ok=True)
        if not name.endswith("/"):
            path.write_text(f"{name}\n")
    return tmp_path


def took(made: Path) -> tuple[str, ...]:
    return collect(made / "obj", made / "out", "the module of x", made / "log")


def test_modules_of_all_folders_and_what_they_export(made: Path) -> None:
    (made / "obj/sub/Module.symvers").write_text("more\n")
    assert took(made) == ("a.ko", "b-b.ko", "Module.symvers")
    assert sorted(p.name for p in (made / "out").iterdir()) == ["Module.symvers", "a.ko", "b-b.ko"]
    assert (made / "out/Module.symvers").read_text() == "obj/Module.symvers\nmore\n"


def test_without_a_module_nothing_is_taken(made: Path) -> None:
    (made / "obj/a.ko").unlink()
    (made / "obj/sub/b-b.ko").unlink()
    assert took(made) == ()
    assert list((made / "out").iterdir()) == []


def test_links_are_not_followed(made: Path) -> None:
    (made / "obj/c.ko").symlink_to("/etc/passwd")
    (made / "obj/again").symlink_to("sub")
    assert took(made) == ("a.ko", "b-b.ko", "Module.symvers")


def test_two_modules_of_one_name_cannot_be_loaded(made: Path) -> None:
    (made / "obj/sub/a.ko").write_text("")
    with pytest.raises(KernelFailure, match=r"one name.*: a\.ko and sub/a\.ko"):
        took(made)


def test_a_name_that_no_module_has_is_refused(made: Path) -> None:
    (made / "obj/-a b.ko").write_text("")
    with pytest.raises(KernelFailure, match="no module can have"):
        took(made)
