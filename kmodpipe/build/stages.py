"""Turn the cells of a run into build steps with chained cache keys.

A `Stage` is one cached step: its kind, its label, all inputs of its key, and the function that makes it.
`invoke plan` only looks the stages up, the other commands make them: what is printed is what would run.

    tree ─► common config (one a flavour) ─► base (one a source and non-module config)
         ─► applied tree ─► config (one a variant and flavour) ─► module (one a cell)          guest (one)
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from kmodpipe import kconfig
from kmodpipe.build.complete import require_configurations, require_files, require_folders, require_texts
from kmodpipe.build.configured import Buildable, Configured, RuledOut, check, explain
from kmodpipe.build.elf import build_id, require_elf
from kmodpipe.build.kbuild import make_flags, module_targets
from kmodpipe.build.recipes import BaseOrder, Builder, ConfigOrder, ModuleOrder, WorkDir
from kmodpipe.cache.store import Artifact, Inputs
from kmodpipe.kconfig import Cell, Flavour, Matrix, Variant
from kmodpipe.series import Series
from kmodpipe.source import Tree
from kmodpipe.util import document
from kmodpipe.util.digest import digest_file, digest_of, digest_tree
from kmodpipe.util.errors import KernelFailure, UserError

_RECIPE_VERSION = 1
# Files that no compiler reads: a series that touches only such files shares the base.
_INERT = ("Documentation/", "MAINTAINERS", "CREDITS", "tools/testing/")


@dataclass(frozen=True)
class Stage:
    """One cached step."""

    kind: str
    label: str
    inputs: Inputs  # all that the content depends on; the cache key is their digest
    make: Callable[[WorkDir], None]  # writes the content
    need_mib: int = 64  # free disk space that making it takes
    # Raises InfraError if a folder, which another machine or version made, lacks what later steps read.
    check: Callable[[Path], None] = lambda folder: None


@dataclass(frozen=True)
class Subject:
    """A variant with its source: the pristine tree for the control, the patched one for a series."""

    variant: Variant
    series: Series | None
    src: Path

    @property
    def touched(self) -> tuple[str, ...]:
        """The files that the series changes."""
        return self.series.touched if self.series else ()


@dataclass(frozen=True)
class BaseSpec:
    """The kernel base that a cell needs."""

    src: Path
    source: str  # the identity of the files below ``src``
    config: str  # the text of the .config that it is built from
    config_digest: str  # without the symbols that are the module's own
    make: Mapping[str, str] = field(default_factory=dict)  # variables for make

    @property
    def key(self) -> tuple[str, str]:
        """The same for all cells that share a base."""
        return self.source, digest_of([self.config_digest, dict(self.make)])


class Stages:
    """Makes the stages of one run: one tree, one matrix, one runtime."""

    def __init__(self, tree: Tree, matrix: Matrix, module: str, builder: Builder, identity: Inputs) -> None:
        self.tree = tree
        self.matrix = matrix
        self.module = module.strip("/")
        self._builder = builder
        self._identity = identity
        self._recipes = digest_tree(builder.images / "builder")
        guest = builder.images / "guest"
        # Cases and their library are packed for each cell: changing one makes no new guest.
        self._guest_recipe = digest_of(
            {
                p.relative_to(guest).as_posix(): _content(p)
                for p in sorted(guest.rglob("*"))
                if p.is_file() and p.relative_to(guest).parts[0] not in ("cases", "lib.sh")
            }
        )

    # -- configuration ---------------------------------------------------------------------------
    def common(self, flavour: Flavour, tools: Path | None = None) -> Stage:
        """Return the stage of a flavour's common configuration: the pristine tree's, without any axis.

        The base is built from it. It keeps the tree's host tools (conf, fixdep) for later stages on the same
        source; ``tools`` are those that an earlier one kept.
        """
        requests = {"base": kconfig.render(self.matrix.requested(flavour))}
        order = ConfigOrder(self.tree.path, self.matrix.base, requests, tools)

        def make(work: WorkDir) -> None:
            self._builder.configure(order, work)

        def check(folder: Path) -> None:
            require_texts(folder, "out/base.config")
            require_folders(folder, "obj")

        label = ".".join(["common", *([flavour.name] if flavour.name else [])])
        return Stage("config", label, self._config_inputs({}, requests), make, check=check)

    def _config_inputs(self, touched: Mapping[str, str], requests: Mapping[str, str]) -> Inputs:
        return {
            "tree": self.tree.identity,
            "Kconfig": dict(touched),
            "requests": digest_of(dict(requests)),
            "base configuration": self.matrix.base,
            "builder": dict(self._identity),
            "recipe": [_RECIPE_VERSION, self._recipes],
        }

    def configuration(
        self, subject: Subject, cells: Sequence[Cell], flavour: Flavour, tools: Path | None = None
    ) -> Stage:
        """Return the stage of the final configurations of a variant's ``cells`` in one flavour.

        ``tools`` are the pristine tree's host tools, which are used if the variant does not change them.
        """
        tools = None if self._touched(subject, _is_host_tool) else tools
        requests = {cell.id: kconfig.render(cell.requested) for cell in cells}
        inputs = self._config_inputs(self._touched(subject, _is_kconfig), requests)

        def make(work: WorkDir) -> None:
            symbols = {symbol for cell in cells for symbol in cell.requested}
            index = kconfig.index_symbols(subject.src, symbols)
            reasons = {cell.id: kconfig.illegal(cell.own_requests, cell.requested, index) for cell in cells}
            legal = {cell.id: requests[cell.id] for cell in cells if reasons[cell.id] is None}
            if work.step:
                work.step.update(f"{len(legal)} of {len(cells)} cells are legal")
            if legal:
                self._builder.configure(ConfigOrder(subject.src, self.matrix.base, legal, tools), work)
            else:
                (work.folder / "out").mkdir()
            with (work.folder / "out" / "illegal.json").open("x") as f:
                json.dump({k: v for k, v in reasons.items() if v}, f)

        label = f"{subject.variant.name}.{flavour.name}" if flavour.name else subject.variant.name
        return Stage(
            "config", label, inputs, make, check=lambda folder: require_configurations(folder, [*requests])
        )

    def configured(
        self, subject: Subject, cells: Sequence[Cell], artifact: Artifact
    ) -> tuple[Configured, ...]:
        """Compare the configurations in ``artifact`` with the requested symbols, cell by cell."""
        out = artifact.path / "out"
        reasons: Mapping[str, str] = document.read_object(out / "illegal.json")
        return tuple(
            RuledOut(cell, reasons[cell.id])
            if cell.id in reasons
            else check(cell, (out / f"{cell.id}.config").read_text("utf-8", "replace"), subject.src)
            for cell in cells
        )

    def require_common(self, control: Subject, flavour: Flavour, text: str) -> None:
        """Raise UserError if a symbol that every cell of the matrix requests is lost in ``text``, the common
        configuration."""
        base = kconfig.parse_config(text)
        # A tree need not have a flavour's own symbols: they are verified for each cell.
        own = {entry.symbol for entry in flavour.requested}
        requested = self.matrix.requested(flavour)
        common = {symbol: entry for symbol, entry in requested.items() if symbol not in own}
        if lost := kconfig.verify(common, base):
            more = f" (and {len(lost) - 1} more)" if len(lost) > 1 else ""
            raise UserError(
                f"a symbol did not survive: {lost[0]}{more}",
                where=", ".join(dict.fromkeys(m.requested.origin for m in lost)),
                detail="\n".join(f"{m}: {explain(control.src, m, base) or 'no reason found'}" for m in lost),
                hint="request what it depends on as well, or remove it from the fragment",
            )

    # -- base ------------------------------------------------------------------------------------
    def common_spec(self, cells: Sequence[Cell], common: str) -> BaseSpec | None:
        """Return the base of the ``common`` configuration if one of the control's ``cells`` needs it for
        certain, before any cell is configured; else None.

        It is certain for a cell with every axis at n, if all symbols of the axes are the module's own: such a
        cell differs from the common configuration in nothing that vmlinux is built from. A symbol that the
        tree does not have changes nothing.
        """
        owned = kconfig.owned_symbols(self.tree.path, self.module)
        plain = next((cell for cell in cells if set(cell.choice.values()) <= {"n"}), None)
        if plain is None:
            return None
        beyond = {entry.symbol for entry in plain.axes.values()} - set(owned)
        if beyond and any(kconfig.index_symbols(self.tree.path, beyond).definitions.values()):
            return None
        config = kconfig.parse_config(common)
        make = {**make_flags(config), **plain.flavour.base_make}
        digest = kconfig.digest(config, without=owned)
        return BaseSpec(self.tree.path, self.tree.identity, common, digest, make)

    def base_spec(self, subject: Subject, configured: Buildable, common: str) -> BaseSpec:
        """Return the base that a cell's module is built against and runs on.

        ``common`` is the text of its flavour's common configuration (`Stages.common`).
        """
        outside = self._touched(subject, lambda name: not self._is_module_file(name) and not _is_inert(name))
        source = self.tree.identity if not outside else digest_of([self.tree.identity, outside])
        owned = kconfig.owned_symbols(subject.src, self.module)
        wanted = kconfig.digest(configured.final, without=owned)
        # Built from the common configuration if only the module's own symbols differ: then the order of the
        # cells does not matter.
        same = kconfig.digest(kconfig.parse_config(common), without=owned) == wanted
        return BaseSpec(
            src=subject.src if outside else self.tree.path,
            source=source,
            config=common if same else configured.text,
            config_digest=wanted,
            make={**make_flags(configured.final), **configured.cell.flavour.base_make},
        )

    def base(self, spec: BaseSpec, tools: Path | None = None, expected_lines: int | None = None) -> Stage:
        """Return the stage of a base: vmlinux and the kit, shared by all cells with an equal spec."""
        tools = tools if spec.src == self.tree.path else None
        inputs: Inputs = {
            "source": spec.source,
            "configuration": spec.config_digest,
            "builder": dict(self._identity),
            "recipe": [_RECIPE_VERSION, self._recipes],
            **({"make variables": dict(spec.make)} if spec.make else {}),
        }

        order = BaseOrder(spec.src, spec.config, spec.make, tools, expected_lines)

        def make(work: WorkDir) -> None:
            self._builder.base(order, work)
            require_elf(work.folder / "out" / "vmlinux", work.log)

        def check(folder: Path) -> None:
            require_files(folder, "out/vmlinux", "out/bzImage")
            require_files(folder, "out/System.map", "obj/Module.symvers", empty=True)
            require_texts(folder, "out/base.config", "obj/.config")
            build_id(folder / "out" / "vmlinux")

        label = digest_of([self.tree.name, spec.config_digest])[:12]
        return Stage("base", label, inputs, make, need_mib=2048, check=check)

    # -- module ----------------------------------------------------------------------------------
    def module_of(
        self,
        subject: Subject,
        configured: Buildable,
        spec: BaseSpec,
        base: Artifact,
        lead: Artifact | None = None,
        *,
        keep_objects: bool = False,
    ) -> Stage:
        """Return the stage of one cell's module.

        ``lead`` is the module of another cell of this variant and base, whose objects kbuild may reuse. The
        result is the same, so it is not in the key.
        """
        targets = module_targets(subject.src, self.module, configured.final)
        lead_objects = lead.path / "obj" if lead and (lead.path / "obj").is_dir() else None
        order = ModuleOrder(
            name=configured.cell.id,
            src=subject.src,
            kit=lead_objects or base.path / "obj",
            config=configured.text,
            folder=self.module,
            targets=targets,
            same_source=lead_objects is not None or spec.src == subject.src,
            keep_objects=keep_objects,
            make=make_flags(configured.final),
        )
        inputs: Inputs = {
            "base": base.key,
            "source": self._touched(subject, self._is_module_file),
            "configuration": kconfig.digest(configured.final),
            "targets": list(targets),
            "make variables": dict(order.make),
            "recipe": [_RECIPE_VERSION, self._recipes],
        }

        def make(work: WorkDir) -> None:
            self._builder.module(order, work)
            for module in sorted((work.folder / "out").glob("*.ko")):
                require_elf(module, work.log)
            built = kconfig.parse_config((work.folder / "out" / "cell.config").read_text("utf-8", "replace"))
            if kconfig.digest(built) != kconfig.digest(configured.final):
                raise KernelFailure(
                    "the configuration changed while the module was built",
                    where=configured.cell.id,
                    hint="a Kconfig or Makefile of the series may depend on files in the object folder",
                )

        def check(folder: Path) -> None:
            require_texts(folder, "out/cell.config")

        return Stage("module", configured.cell.id, inputs, make, need_mib=512, check=check)

    # -- guest -----------------------------------------------------------------------------------
    def guest(self) -> Stage:
        """Return the stage of the root file system that every cell boots."""
        inputs: Inputs = {"builder": dict(self._identity), "recipe": [_RECIPE_VERSION, self._guest_recipe]}

        def make(work: WorkDir) -> None:
            from kmodpipe.vm.initramfs import pack_rootfs

            self._builder.guest(work)
            pack_rootfs(work.folder / "out", work.folder / "guest.cpio")

        def check(folder: Path) -> None:
            require_files(folder, "guest.cpio")
            require_folders(folder, "out")

        return Stage("guest", "guest", inputs, make, need_mib=128, check=check)

    def toolset(self, name: str, guest: Artifact) -> Stage:
        """Return the stage of a toolset: programs that only the guests of some flavours get.

        It is an archive of its own, because every boot unpacks the whole root file system.
        """
        inputs: Inputs = {"guest": guest.key, "toolset": name}

        def make(work: WorkDir) -> None:
            from kmodpipe.vm.initramfs import pack_folder

            self._builder.toolset(name, guest.path / "out", work)
            pack_folder(work.folder / "out", work.folder / "toolset.cpio")

        def check(folder: Path) -> None:
            require_files(folder, "toolset.cpio")

        return Stage("toolset", name, inputs, make, need_mib=128, check=check)

    # -- the files that a series changes ---------------------------------------------------------
    def _is_module_file(self, name: str) -> bool:
        return name.startswith(f"{self.module}/")

    @staticmethod
    def _touched(subject: Subject, wanted: Callable[[str], bool]) -> dict[str, str]:
        """Return the content (see `_content`) of each touched file whose name is ``wanted``."""
        return {name: _content(subject.src / name) for name in sorted(set(subject.touched)) if wanted(name)}


def common_configuration(common: Artifact) -> str:
    """Return the text of a flavour's common configuration, from the artifact of `Stages.common`."""
    return (common.path / "out" / "base.config").read_text("utf-8", "replace")


def _content(path: Path) -> str:
    """Return a file's digest, marked if it is executable; a link's target; or ``deleted``."""
    if path.is_symlink():
        return f"link to {path.readlink()}"
    if not path.is_file():
        return "deleted"
    return digest_file(path) + (" executable" if path.stat().st_mode & 0o100 else "")


def _is_kconfig(name: str) -> bool:
    """Return whether a file can change the outcome of Kconfig: its own files, and scripts that it runs."""
    last = name.rsplit("/", 1)[-1]
    return (
        last.startswith(("Kconfig", "Makefile", "Kbuild"))
        or name.startswith("scripts/")
        or "defconfig" in last
    )


def _is_host_tool(name: str) -> bool:
    """Return whether the tree's host tools (conf, fixdep) are built from or by a file."""
    return name.startswith(("scripts/", "tools/")) or name in ("Makefile", "Kbuild")


def _is_inert(name: str) -> bool:
    return name.startswith(_INERT)
