"""Decode frames of a kernel's trace to functions, files and lines, from that kernel's vmlinux and modules.

A frame has the form ``name+0xoffset/0xsize [module]``. It is decoded only if exactly one symbol of that name
has that size, which the kernel counts up to the next symbol (kernel/kallsyms.c). A file of another build
gives no line, and several functions that fit give a note, never a wrong line. vmlinux and modules are read
with pyelftools; no tool of the host is needed.

A module is relocatable: its sections have no addresses, and its line numbers are relocated against them. Its
sections get addresses here in the order in which the kernel's loader lays them out (kernel/module/main.c,
layout_sections), which also determines the size of a section's last function.
"""

from __future__ import annotations

import posixpath
import struct
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import Any, Protocol

from elftools.elf.elffile import ELFFile

# Section flags, symbol types and layouts of Elf64_Sym and Elf64_Rela: see elf(5).
_ALLOC, _EXEC, _COMPRESSED = 0x2, 0x4, 0x800
_SECTION, _FILE = 3, 4  # types of symbols that are not in the kernel's table
_SYMBOL = struct.Struct("<IBBHQQ")
_RELOCATION = struct.Struct("<QQq")
# Relocations in DWARF on x86-64: R_X86_64_64 and R_X86_64_32, symbol plus addend in 8 bytes or in 4.
_WIDTHS = {1: 8, 10: 4, 11: 4}
_PAGE = 4096
_FIRST = 0x10000


class Frame(Protocol):
    """The part of a frame that `Decoder` reads.

    ``exact``: the processor was there. Otherwise a call returns to there, which may be the next line.
    """

    @property
    def name(self) -> str: ...
    @property
    def offset(self) -> int: ...
    @property
    def size(self) -> int: ...
    @property
    def module(self) -> str: ...
    @property
    def exact(self) -> bool: ...


@dataclass(frozen=True)
class Place:
    """A line of source in a function."""

    function: str
    file: str
    line: int
    inlined: bool = False  # the function has no frame of its own: it is inlined into the next place

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


@dataclass(frozen=True)
class Decoded:
    """The source lines of one frame."""

    places: tuple[Place, ...] = ()  # innermost first; empty if the frame cannot be decoded
    note: str = ""  # why there are none, if several functions fit


class Decoder:
    """Decodes frames of one kernel.

    Each file is read when a frame first needs it. A file that cannot be read, or that has no line numbers,
    decodes nothing.
    """

    def __init__(self, vmlinux: Path | None = None, modules: Mapping[str, Path] | None = None) -> None:
        """``modules`` maps names as the kernel prints them to the files that were loaded."""
        self._paths = {**(modules or {}), **({"": vmlinux} if vmlinux else {})}
        self._images: dict[str, _Image | None] = {}

    def decode(self, frame: Frame) -> Decoded:
        """Return the places of a frame. Never raises: without a usable file there are none."""
        image = self._image(frame.module)
        if image is None:
            return Decoded()
        # A return address lies behind its call, and behind the function if the call is its last instruction.
        back = 0 if frame.exact or frame.offset == 0 else 1
        found: dict[tuple[Place, ...], None] = {}
        try:
            for start in image.functions(frame.name, frame.size):
                found[image.places(start + frame.offset - back, frame.name)] = None
        except Exception:  # a malformed file can raise anything in pyelftools; it must not cost the report
            return Decoded()
        if len(found) == 1:
            return Decoded(next(iter(found)))
        where = [str(places[-1]) for places in found if places]
        return Decoded(note=f"ambiguous: {' or '.join(where)}" if where else "")

    def _image(self, module: str) -> _Image | None:
        if module not in self._images:
            self._images[module] = None
            if path := self._paths.get(module):
                with suppress(Exception):
                    self._images[module] = _Image(path)
        return self._images[module]


class _Image:
    """One ELF file: its functions and, if it has DWARF, their lines."""

    def __init__(self, path: Path) -> None:
        data = path.read_bytes()
        elf = ELFFile(BytesIO(data))
        if elf["e_machine"] != "EM_X86_64":
            raise ValueError(f"{elf['e_machine']} is not supported")
        self._sections = [section.header for section in elf.iter_sections()]
        self._names = [section.name for section in elf.iter_sections()]
        self._base = [int(header["sh_addr"]) for header in self._sections]
        self._runs: list[tuple[int, int]] = []  # of a module: start and end of each group of sections
        if elf["e_type"] == "ET_REL":
            self._lay_out()
            data = self._relocated(data)
        self._starts: dict[str, list[int]] = {}
        self._order: list[int] = []
        self._read_symbols(data)
        self._elf = ELFFile(BytesIO(data))
        self._units: dict[int, _Unit] = {}

    # -- addresses --------------------------------------------------------------------------------
    def _lay_out(self) -> None:
        """Assign addresses as the module loader does: core code in the order of its sections, then init code,
        then data."""
        at = _FIRST
        for pick in (self._is_core_code, self._is_init_code, self._is_data):
            first = at
            for index, header in enumerate(self._sections):
                if pick(index):
                    alignment = max(int(header["sh_addralign"]), 1)
                    at = (at + alignment - 1) // alignment * alignment
                    self._base[index] = at
                    at += int(header["sh_size"])
            self._runs.append((first, at))
            at = (at + 16 * _PAGE) // _PAGE * _PAGE

    def _has(self, index: int, flags: int) -> bool:
        return int(self._sections[index]["sh_flags"]) & flags == flags

    def _is_core_code(self, index: int) -> bool:
        return self._has(index, _ALLOC | _EXEC) and not self._names[index].startswith(".init")

    def _is_init_code(self, index: int) -> bool:
        return self._has(index, _ALLOC | _EXEC) and self._names[index].startswith(".init")

    def _is_data(self, index: int) -> bool:
        return self._has(index, _ALLOC) and not self._has(index, _EXEC)

    def _symbols(self, data: bytes) -> Iterator[tuple[int, int, int, int]]:
        """Yield each symbol: offset of its name, type, section index, value."""
        for header in self._sections:
            if header["sh_type"] == "SHT_SYMTAB":
                start = int(header["sh_offset"])
                for name, info, _, section, value, _ in _SYMBOL.iter_unpack(
                    data[start : start + int(header["sh_size"])]
                ):
                    yield name, info & 0xF, section, value

    def _relocated(self, data: bytes) -> bytes:
        """Return the file with its debug sections relocated to the addresses of `_lay_out`."""
        result = bytearray(data)
        values = [
            value + (self._base[section] if 0 < section < len(self._sections) else 0)
            for _, _, section, value in self._symbols(data)
        ]
        for header in self._sections:
            if header["sh_type"] != "SHT_RELA":
                continue
            target = int(header["sh_info"])
            if not self._names[target].startswith(".debug_") or self._has(target, _COMPRESSED):
                continue
            start, into = int(header["sh_offset"]), int(self._sections[target]["sh_offset"])
            table = data[start : start + int(header["sh_size"])]
            for offset, info, addend in _RELOCATION.iter_unpack(table):
                if width := _WIDTHS.get(info & 0xFFFFFFFF):
                    value = (values[info >> 32] + addend) & ((1 << 8 * width) - 1)
                    result[into + offset : into + offset + width] = value.to_bytes(width, "little")
        return bytes(result)

    # -- functions --------------------------------------------------------------------------------
    def _read_symbols(self, data: bytes) -> None:
        texts = next(
            (
                self._sections[int(h["sh_link"])]
                for h in self._sections
                if h["sh_type"] == "SHT_SYMTAB" and h["sh_link"]
            ),
            None,
        )
        if texts is None:
            return
        names = data[int(texts["sh_offset"]) : int(texts["sh_offset"]) + int(texts["sh_size"])]
        for at, kind, section, value in self._symbols(data):
            if kind in (_SECTION, _FILE) or not 0 < section < len(self._sections):
                continue
            if not self._has(section, _ALLOC | _EXEC):
                continue
            name = names[at : names.index(b"\0", at)].decode("utf-8", "replace")
            # Those that scripts/kallsyms.c and the module loader leave out.
            if name and not name.startswith((".L", "$", "__crc_")):
                start = value + (self._base[section] if self._runs else 0)
                self._starts.setdefault(name, []).append(start)
        self._order = sorted({start for starts in self._starts.values() for start in starts})

    def functions(self, name: str, size: int) -> list[int]:
        """Return the start addresses of the functions with this name and size."""
        return [start for start in sorted(set(self._starts.get(name, ()))) if size in self._sizes(start)]

    def _sizes(self, start: int) -> set[int]:
        """Return the sizes the kernel may print for a function: up to the next symbol, or the end of code."""
        after = bisect_right(self._order, start)
        following = self._order[after] if after < len(self._order) else None
        for first, end in self._runs:
            if first <= start < end and (following is None or following >= end):
                # Whether code takes whole pages depends on the kernel's configuration.
                return {end - start, (end + _PAGE - 1) // _PAGE * _PAGE - start}
        return {following - start} if following is not None else set()

    # -- lines ------------------------------------------------------------------------------------
    @cached_property
    def _dwarf(self) -> Any:
        if not self._elf.has_dwarf_info():
            return None
        return self._elf.get_dwarf_info(relocate_dwarf_sections=False)

    @cached_property
    def _ranges(self) -> Any:
        return self._dwarf.get_aranges()

    def places(self, address: int, function: str) -> tuple[Place, ...]:
        """Return the lines of an address: inlined functions innermost first, then ``function``. Empty
        without DWARF."""
        if self._dwarf is None or self._ranges is None or not self._ranges.entries:
            return ()
        offset = self._ranges.cu_offset_at_addr(address)
        if offset is None:
            return ()
        if offset not in self._units:
            self._units[offset] = _Unit(self._dwarf, self._dwarf.get_CU_at(offset))
        return self._units[offset].places(address, function)


class _Unit:
    """One compilation unit: its line table, and its functions with what was inlined into them."""

    def __init__(self, dwarf: Any, unit: Any) -> None:
        self._dwarf = dwarf
        self._unit = unit
        self._program = dwarf.line_program_for_CU(unit)
        self._rows = self._sequences()

    def _sequences(self) -> list[tuple[list[int], list[tuple[int, int]]]]:
        """Return the sequences of the line table: addresses (the end is the last), file and line of each."""
        found: list[tuple[list[int], list[tuple[int, int]]]] = []
        addresses: list[int] = []
        rows: list[tuple[int, int]] = []
        for entry in self._program.get_entries() if self._program else ():
            state = entry.state
            if state is None:
                continue
            addresses.append(state.address)
            rows.append((state.file, state.line))
            if state.end_sequence:
                found.append((addresses, rows))
                addresses, rows = [], []
        return found

    def places(self, address: int, function: str) -> tuple[Place, ...]:
        row = self._row(address)
        if row is None:
            return ()
        file, line = row
        inlined = []
        for die in reversed(self._inlined(address)):
            inlined.append(Place(self._name(die), self._file(file), line, inlined=True))
            file, line = _number(die, "DW_AT_call_file"), _number(die, "DW_AT_call_line")
        return (*inlined, Place(function, self._file(file), line))

    def _row(self, address: int) -> tuple[int, int] | None:
        for addresses, rows in self._rows:
            if addresses[0] <= address < addresses[-1]:
                return rows[bisect_right(addresses, address) - 1]
        return None

    def _file(self, number: int) -> str:
        """Return a file's path in the tree; compilers record it relative to the objdir."""
        header = self._program.header
        old = header["version"] < 5
        entry = header["file_entry"][number - 1 if old else number]
        name, folder = _text(entry.name), int(entry.dir_index)
        folders = header["include_directory"]
        if not old or folder:
            name = posixpath.join(_text(folders[folder - 1 if old else folder]), name)
        return posixpath.normpath(name)

    def _inlined(self, address: int) -> list[Any]:
        """Return the calls that were inlined at an address, outermost first."""
        found: list[Any] = []
        inside = self._unit.get_top_DIE()
        while inside is not None:
            inside = next((die for die in inside.iter_children() if self._covers(die, address)), None)
            if inside is not None and inside.tag == "DW_TAG_inlined_subroutine":
                found.append(inside)
        return found

    def _covers(self, die: Any, address: int) -> bool:
        attributes = die.attributes
        if "DW_AT_ranges" in attributes:
            return any(low <= address < high for low, high in self._ranges_of(die))
        if "DW_AT_low_pc" not in attributes or "DW_AT_high_pc" not in attributes:
            return False
        low, high = attributes["DW_AT_low_pc"].value, attributes["DW_AT_high_pc"]
        end = high.value if high.form == "DW_FORM_addr" else low + high.value
        return bool(low <= address < end)

    def _ranges_of(self, die: Any) -> Iterator[tuple[int, int]]:
        base = _number(self._unit.get_top_DIE(), "DW_AT_low_pc")
        offset = die.attributes["DW_AT_ranges"].value
        for entry in self._dwarf.range_lists().get_range_list_at_offset(offset, cu=self._unit):
            if hasattr(entry, "base_address"):
                base = entry.base_address
            else:
                own = 0 if getattr(entry, "is_absolute", False) else base
                yield own + entry.begin_offset, own + entry.end_offset

    @staticmethod
    def _name(die: Any) -> str:
        for _ in range(4):
            if "DW_AT_name" in die.attributes:
                return _text(die.attributes["DW_AT_name"].value)
            link = next(
                (a for a in ("DW_AT_abstract_origin", "DW_AT_specification") if a in die.attributes), ""
            )
            if not link:
                break
            die = die.get_DIE_from_attribute(link)
        return "?"


def _number(die: Any, attribute: str) -> int:
    return int(die.attributes[attribute].value) if attribute in die.attributes else 0


def _text(value: bytes | str) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
