"""Traces decoded to lines, from files as compilers make them; tests/data/decode/README says how."""

from __future__ import annotations

from pathlib import Path

import pytest

from kmodpipe.logs.kernel_log import Frame
from kmodpipe.logs.symbolize import Decoded, Decoder, Place
from tests.support.decode import DATA, line


def frame(text: str, *, exact: bool = False) -> Frame:
    """``name+0x1/0x2 [module]`` as a frame."""
    place, _, module = text.partition(" [")
    name, _, numbers = place.partition("+")
    offset, _, size = numbers.partition("/")
    return Frame(name, int(offset, 16), int(size, 16), module.rstrip("]"), exact)


@pytest.fixture(params=[4, 5])
def decoder(request: pytest.FixtureRequest) -> Decoder:
    modules = {"first": DATA / f"module-dwarf{request.param}.ko"}
    return Decoder(DATA / f"vmlinux-dwarf{request.param}", modules)


@pytest.mark.parametrize("where", ["", " [first]"])
def test_a_call_is_shown_where_it_was_made(decoder: Decoder, where: str) -> None:
    called = frame(f"caller+0x5/0x20{where}")
    assert decoder.decode(called).places == (Place("caller", "first.c", line("first.c", "sum = common")),)


@pytest.mark.parametrize("where", ["", " [first]"])
def test_what_is_inlined_is_shown_innermost_first(decoder: Decoder, where: str) -> None:
    # The same address, as the processor's own: behind the call, not in it.
    assert decoder.decode(frame(f"caller+0x5/0x20{where}", exact=True)).places == (
        Place("twice", "first.c", line("first.c", "counter += value"), inlined=True),
        Place("caller", "first.c", line("first.c", "sum += twice")),
    )


@pytest.mark.parametrize("where", ["", " [first]"])
def test_functions_of_one_name_are_told_apart_by_their_size_or_not_at_all(
    decoder: Decoder, where: str
) -> None:
    second, third = line("second.c", "counter += i"), line("third.c", "counter = value")
    assert str(decoder.decode(frame(f"longer+0x12/0x30{where}")).places[-1]) == f"second.c:{second}"
    assert str(decoder.decode(frame(f"longer+0x1/0x10{where}")).places[-1]) == f"third.c:{third}"
    first, second = line("first.c", "counter ^= value"), line("second.c", "counter ^= value")
    both = decoder.decode(frame(f"common+0x7/0x10{where}"))
    assert both == Decoded(note=f"ambiguous: first.c:{first} or second.c:{second}")


@pytest.mark.parametrize("text", ["caller+0x5/0x21", "caller+0x5/0x1f", "nowhere+0x5/0x20", "last+0x1/0x0"])
@pytest.mark.parametrize("where", ["", " [first]", " [another]"])
def test_another_build_is_not_decoded(decoder: Decoder, text: str, where: str) -> None:
    assert decoder.decode(frame(text + where)) == Decoded()


def test_sections_of_a_module_do_not_lie_on_each_other(decoder: Decoder) -> None:
    # All three are the first of their section.
    starts = decoder.decode(frame("starts+0x1/0x1000 [first]", exact=True)).places[-1]
    assert (starts.file, starts.line) == ("first.c", line("first.c", "caller(value) + 1"))
    rare = line("second.c", "int rare(")
    assert rare <= decoder.decode(frame("rare+0x1/0xf40 [first]", exact=True)).places[-1].line <= rare + 2


def test_the_last_function_of_the_code_ends_with_it_or_with_its_page(decoder: Decoder) -> None:
    # Code that is not given pages of its own; "third" ends where the next section begins.
    assert decoder.decode(frame("rare+0x1/0x10 [first]", exact=True)).places
    assert decoder.decode(frame("third+0x1/0x20 [first]", exact=True)).places[-1].file == "third.c"
    assert decoder.decode(frame("rare+0x1/0x40 [first]", exact=True)) == Decoded()


def test_files_that_are_none_decode_nothing(tmp_path: Path) -> None:
    junk = tmp_path / "junk.ko"
    junk.write_bytes(b"this is no ELF file")
    asked = frame("caller+0x5/0x20 [first]")
    for decoder in (Decoder(), Decoder(tmp_path / "none", {"first": tmp_path / "none"})):
        assert decoder.decode(asked) == decoder.decode(frame("caller+0x5/0x20")) == Decoded()
    assert Decoder(junk, {"first": junk}).decode(asked) == Decoded()


@pytest.mark.parametrize("name", ["module-dwarf4.ko", "vmlinux-dwarf5"])
def test_a_file_that_is_cut_or_damaged_does_no_harm(tmp_path: Path, name: str) -> None:
    whole, damaged = (DATA / name).read_bytes(), tmp_path / "damaged.ko"
    right = Place("caller", "first.c", line("first.c", "sum = common"))
    for at in range(0, len(whole), 97):
        for data in (whole[:at], whole[:at] + bytes(16) + whole[at + 16 :]):
            damaged.write_bytes(data)
            Decoder(damaged, {"first": damaged}).decode(frame("caller+0x5/0x20 [first]"))
    damaged.write_bytes(whole)
    assert Decoder(None, {"first": damaged}).decode(frame("caller+0x5/0x20 [first]")).places == (right,)
