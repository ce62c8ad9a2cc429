"""Turn the cells of a run into build steps with chained cache keys.

A `Stage` is one cached step: its kind, its label, all inputs of its key, and the function that makes it.
`invoke plan` only looks the stages up, the other commands make them: what is printed is what would run.

    tree ─► common config (one a flavour) ─► base (one a source and non-module config)
         ─► applied tree ─► config (one a variant and flavour) ─► module (one a cell)
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from kmodpipe import kconfig
from kmodpipe.build import gcov_notes, module_order, neutral, reuse
from kmodpipe.build.complete import (
    require_configurations,
    require_elf_header,
    require_files,
    require_folders,
    require_texts,
)
from kmodpipe.build.configured import Buildable, Configured, RuledOut, check, explain
from kmodpipe.build.elf import module_name, require_elf
from kmodpipe.build.external_stage import BuiltKit, ExternalStages, excluded
from kmodpipe.build.kbuild import make_flags, module_targets, named_target, require_named, split
from kmodpipe.build.neutral import Target
from kmodpipe.build.recipes import (
    FILES_READ,
    MODULES,
    SYMBOLS_READ,
    BaseOrder,
    Builder,
    ConfigOrder,
    ModuleOrder,
    WorkDir,
)
from kmodpipe.build.reuse import Reused
from kmodpipe.build.sharing import BaseSpec, Readings, Sharing, Subject
from kmodpipe.build.stage import Reusing, Stage
from kmodpipe.build.touched_files import (
    configuring_files,
    is_host_tool,
    kconfig_runs_nothing,
    only_compiled,
    run_nothing,
    sources,
)
from kmodpipe.cache.store import Artifact, Inputs
from kmodpipe.kconfig import Cell, Flavour, Matrix
from kmodpipe.kconfig.own_source import OwnSource
from kmodpipe.source import Tree
from kmodpipe.util import document
from kmodpipe.util.digest import digest_of, digest_tree
from kmodpipe.util.errors import KernelFailure, UserError
from kmodpipe.util.text import count

# Raise one when the meaning of a key changes, so that no artifact of an earlier version is taken.
_RECIPE_VERSION = 2
_LEGALITY_VERSION = 1  # of what `kconfig.illegal` decides, which a configuration's artifact holds


class Stages:
    """Makes the stages of one kernel of a run: one tree, one matrix, one runtime."""

    def __init__(
        self,
        tree: Tree,
        matrix: Matrix,
        module: str,
        builder: Builder,
        identity: Inputs,
        kernel: str = "",
        own: OwnSource | None = None,
    ) -> None:
        """``module`` is a folder of the tree, or one module that it makes (`kbuild.split`); ``kernel`` is
        part of the labels where a run has several; ``own`` is a module that is in no tree."""
        self.tree = tree
        self._kernel = kernel
        self.matrix = matrix
        self.folder, self._named = split(module)
        self._own = own
        self._builder = builder
        self._identity = identity
        self._sharing = Sharing(tree, self.folder)
        # By the base's key.
        self._readings: dict[str, Readings] = {}
        self._recipes = digest_tree(builder.images / "builder")

    # -- configuration ---------------------------------------------------------------------------
    def common(self, flavour: Flavour, tools: Path | None = None) -> Stage:
        """Return the stage of a flavour's common configuration: the pristine tree's, without any axis.

        The base is built from it. It keeps the tree's host tools (conf, fixdep) for later stages on the same
        source; ``tools`` are those that an earlier one kept.
        """
        requests = {"base": kconfig.render(self.matrix.requested(flavour))}
        order = ConfigOrder(self.tree.path, self.matrix.base, requests, tools, remembers=True)

        def make(work: WorkDir) -> None:
            self._builder.configure(order, work)

        def check(folder: Path) -> None:
            require_texts(folder, "out/base.config")
            require_folders(folder, "obj")

        label = self._label("common", flavour)
        return Stage("config", label, self._config_inputs({}, requests), make, check=check)

    def _label(self, name: str, flavour: Flavour) -> str:
        return ".".join(filter(None, (name, self._kernel, flavour.name)))

    def _config_inputs(self, touched: Mapping[str, str], requests: Mapping[str, str]) -> Inputs:
        return {
            "tree": self.tree.identity,
            "Kconfig": dict(touched),
            "requests": digest_of(dict(requests)),
            "base configuration": self.matrix.base,
            "builder": dict(self._identity),
            "recipe": [_RECIPE_VERSION, _LEGALITY_VERSION, self._recipes],
        }

    def configuration(
        self, subject: Subject, cells: Sequence[Cell], flavour: Flavour, tools: Path | None = None
    ) -> Stage:
        """Return the stage of the final configurations of a variant's ``cells`` in one flavour.

        ``tools`` are the pristine tree's host tools, which are used if the variant does not change them.
        """
        tools = None if subject.contents_of(is_host_tool) else tools
        requests = {cell.id: kconfig.render(cell.requested) for cell in cells}
        inputs = self._config_inputs(configuring_files(subject), requests)

        def make(work: WorkDir) -> None:
            symbols = {symbol for cell in cells for symbol in cell.requested}
            index = kconfig.index_symbols(subject.src, symbols)
            reasons = {cell.id: kconfig.illegal(cell.own_requests, cell.requested, index) for cell in cells}
            legal = {cell.id: requests[cell.id] for cell in cells if reasons[cell.id] is None}
            if work.step:
                work.step.update(f"{len(legal)} of {count(len(cells), 'cell')} can be had")
            if legal:
                order = ConfigOrder(
                    subject.src, self.matrix.base, legal, tools, remembers=kconfig_runs_nothing(subject)
                )
                self._builder.configure(order, work)
            else:
                (work.folder / "out").mkdir()
            with (work.folder / "out" / "illegal.json").open("x") as f:
                json.dump({k: v for k, v in reasons.items() if v}, f)

        label = self._label(subject.variant.name, flavour)
        return Stage(
            "config", label, inputs, make, check=lambda folder: require_configurations(folder, [*requests])
        )

    def configured(
        self, subject: Subject, cells: Sequence[Cell], artifact: Artifact
    ) -> tuple[Configured, ...]:
        """Compare the configurations in ``artifact`` with the requested symbols, cell by cell."""
        out = artifact.path / "out"
        reasons: Mapping[str, str] = document.read_object(out / "illegal.json")
        found = (
            RuledOut(cell, reasons[cell.id])
            if cell.id in reasons
            else check(cell, (out / f"{cell.id}.config").read_text("utf-8", "replace"), subject.src)
            for cell in cells
        )
        return tuple(self._unless_excluded(subject, one) for one in found)

    def _unless_excluded(self, subject: Subject, one: Configured) -> Configured:
        if not (subject.own and self._own and isinstance(one, Buildable)):
            return one
        why = excluded(subject.own, self._own, one, self.tree.kernel_version)
        return RuledOut(one.cell, why) if why else one

    def require_common(self, control: Subject, flavour: Flavour, text: str) -> None:
        """Raise UserError if a symbol that every cell of the matrix requests is lost in ``text``, the common
        configuration."""
        base = kconfig.parse_config(text)
        # A tree need not have a flavour's own symbols: they are verified for each cell.
        own = {entry.symbol for entry in flavour.requested}
        requested = self.matrix.requested(flavour)
        common = {symbol: entry for symbol, entry in requested.items() if symbol not in own}
        lost = kconfig.verify(common, base)
        # What the tree does not define, a series brings: a typo was refused before.
        index = kconfig.index_symbols(control.src, [m.requested.symbol for m in lost]) if lost else None
        if index and (lost := tuple(m for m in lost if index.definitions[m.requested.symbol])):
            more = f" (and {len(lost) - 1} more)" if len(lost) > 1 else ""
            raise UserError(
                f"a symbol did not survive: {lost[0]}{more}",
                where=", ".join(dict.fromkeys(m.requested.origin for m in lost)),
                detail="\n".join(f"{m}: {explain(control.src, m, base) or 'no reason found'}" for m in lost),
                hint="request what it depends on as well, or remove it from the fragment",
            )

    # -- base ------------------------------------------------------------------------------------
    def common_spec(self, control: Subject, cells: Sequence[Cell], common: str) -> BaseSpec | None:
        """Return the base of the ``common`` configuration if one of the control's ``cells`` needs it for
        certain, before any cell is configured; else None.

        It is certain for a cell with every axis at n, if all symbols of the axes are the module's own: such a
        cell differs from the common configuration in nothing that vmlinux is built from. A symbol that the
        tree does not have changes nothing.
        """
        config = kconfig.parse_config(common)
        try:
            require_named(control.src, self._named, config)
        except UserError:
            # The first cell says so, before anything is built for it.
            return None
        owned = self._sharing.owned(control, config)
        plain = next((cell for cell in cells if set(cell.choice.values()) <= {"n"}), None)
        if plain is None:
            return None
        if plain.flavour.requested:
            # A tree need not have what a flavour asks for: then no cell needs its base.
            index = kconfig.index_symbols(self.tree.path, plain.requested)
            if kconfig.illegal(plain.own_requests, plain.requested, index):
                return None
        beyond = {entry.symbol for entry in plain.axes.values()} - set(owned)
        if beyond and any(kconfig.index_symbols(self.tree.path, beyond).definitions.values()):
            return None
        make = {**make_flags(config), **plain.flavour.base_make}
        digest = kconfig.digest(config, without=owned)
        return BaseSpec(self.tree.path, self.tree.identity, common, digest, make)

    def base_spec(self, subject: Subject, configured: Buildable, common: str) -> BaseSpec:
        """Return the base that a cell's module is built against and runs on, by what the sources say.

        ``common`` is the text of its flavour's common configuration (`Stages.common`). See `own_base_spec`.
        Raise UserError if the sources say that the cell has no module of the name that is under test.
        """
        final = configured.final
        require_named(subject.src, self._named, final)
        owned = self._sharing.owned(subject, final)
        wanted = kconfig.digest(final, without=owned)
        # Built from the common configuration if only the module's own symbols differ: then the order of the
        # cells does not matter.
        same = kconfig.digest(kconfig.parse_config(common), without=owned) == wanted
        return self._spec(
            subject, configured, self._sharing.patched(subject, final), common if same else "", wanted
        )

    def own_base_spec(
        self, subject: Subject, configured: Buildable, spec: BaseSpec, base: Artifact
    ) -> BaseSpec | None:
        """Return a base for this cell alone if it must not boot ``base``, made for ``spec``; else None.

        Decided by what the compiler read when it was built. Raises InfraError if that was not recorded.
        """
        if base.key not in self._readings:
            self._readings[base.key] = Readings.of(base)
        final = configured.final
        if not self._readings[base.key].misfit(spec, subject, final, self.folder):
            return None
        own = self._spec(subject, configured, subject.contents, "", kconfig.digest(final))
        return None if own.key == spec.key else own

    def _spec(
        self, subject: Subject, configured: Buildable, patched: Mapping[str, str], common: str, digest: str
    ) -> BaseSpec:
        """Return the spec of a base with the ``patched`` files and the ``common`` or the cell's .config."""
        return BaseSpec(
            src=subject.src if patched else self.tree.path,
            source=digest_of([self.tree.identity, dict(patched)]) if patched else self.tree.identity,
            config=common or configured.text,
            config_digest=digest,
            make={**make_flags(configured.final), **configured.cell.flavour.base_make},
            patched=frozenset(patched),
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
            require_files(folder, "out/bzImage")
            require_elf_header(folder, "out/vmlinux")
            read = (f"out/{name}" for name in (SYMBOLS_READ, FILES_READ, MODULES))
            require_files(folder, "out/System.map", "obj/Module.symvers", *read, empty=True)
            require_texts(folder, "out/base.config", "obj/.config")

        label = digest_of([self.tree.name, spec.config_digest])[:12]
        return Stage("base", label, inputs, make, need_mib=2048, check=check)

    # -- module ----------------------------------------------------------------------------------
    def targets(self, subject: Subject, configured: Buildable, base: Artifact) -> tuple[str, ...]:
        """Return what make has to make for a cell: its modules, and those of other folders that they need.

        Raises UserError if the module's folder makes none.
        """
        known = module_order.of_base(base)
        built = [one.target for one in known.values()]
        own = module_targets(subject.src, self.folder, configured.final, built)
        if self._named:
            named = named_target(subject.src, self._named, configured.final, own)
            # What a series or an axis brings is not known to the base: the named one may need it.
            own = (named, *(target for target in own if target != named and target not in built))
        return module_order.with_needed(own, known)

    def module_of(
        self, subject: Subject, configured: Buildable, base: Artifact, more: Sequence[str] = ()
    ) -> Stage:
        """Return the stage of one cell's module, with ``more`` targets that it was found to need (`fuller`).

        Its key covers every file that the series changes, documentation included: a source can include any.
        """
        if subject.own and self._own:
            flags = make_flags(configured.final)
            kit = BuiltKit(base, self.tree.path, self._builder, configured, flags)
            external = ExternalStages(self._own, self._builder, self._identity)
            return external.module_of(subject.own, configured, kit)
        targets = tuple(dict.fromkeys((*self.targets(subject, configured, base), *more)))
        order = ModuleOrder(
            name=configured.cell.id,
            src=subject.src,
            kit=base.path / "obj",
            config=configured.text,
            folder=self.folder,
            targets=targets,
            make=make_flags(configured.final),
            coverage=configured.cell.flavour.coverage,
            remembers=kconfig_runs_nothing(subject),
            prepared=self._only_compiled(subject),
            source=subject.contents,
        )
        inputs: Inputs = {
            "base": base.key,
            "source": dict(subject.contents),
            "configuration": kconfig.digest(configured.final),
            "targets": list(targets),
            "make variables": dict(order.make),
            "recipe": [_RECIPE_VERSION, self._recipes],
            # What it does not need is left out.
            **({"under test": targets[0]} if self._named else {}),
            **gcov_notes.key_part(order.coverage),
        }

        def make(work: WorkDir, reused: Reused | None = None) -> None:
            own = self._sharing.owned(subject, configured.final) if reused and reused.leads else ()
            self._builder.module(replace(order, reused=reused, own_symbols=frozenset(own)), work)
            made = sorted((work.folder / "out").glob("*.ko"))
            for module in made:
                require_elf(module, work.log)
            if self._named:
                for module in {*made} - module_order.needed_by(module_name(self._named), made):
                    module.unlink()
            built = kconfig.parse_config((work.folder / "out" / "cell.config").read_text("utf-8", "replace"))
            if kconfig.digest(built) != kconfig.digest(configured.final):
                raise KernelFailure(
                    "the configuration changed while the module was built",
                    where=configured.cell.id,
                    hint="a Kconfig or Makefile of the series may depend on files in the object folder",
                )

        def check(folder: Path) -> None:
            require_texts(folder, "out/cell.config")

        # The notes for gcov stand beside the objects.
        shares = self._builder.runtime.same_paths and not order.coverage
        return Stage(
            "module", configured.cell.id, inputs, make, need_mib=512, check=check,
            reusing=Reusing(
                make,
                lambda: self._names(subject, inputs),
                reuse.of_base(base.path),
                lambda kindred: neutral.has_all(kindred, Target(order.config, order.src, order.source)),
            )
            if shares
            else None,
        )  # fmt: skip

    def _names(self, subject: Subject, inputs: Inputs) -> reuse.Names:
        return reuse.names(
            inputs,
            configuring_files(subject),
            sources(subject, self.folder),
            only_compiled=self._only_compiled(subject),
            kconfig_runs_nothing=kconfig_runs_nothing(subject),
        )

    def _only_compiled(self, subject: Subject) -> bool:
        return only_compiled(subject, self.folder) and self._runs_nothing

    @cached_property
    def _runs_nothing(self) -> bool:
        return run_nothing(self.tree.path / self.folder)

    def fuller(
        self, subject: Subject, configured: Buildable, base: Artifact, module: Artifact
    ) -> Stage | None:
        """Return the stage of a cell's module with more that a series makes it need; None if it has all."""
        known = module_order.of_base(base)
        built = sorted((module.path / "out").glob("*.ko"))
        lacking = module_order.lacking(built, known)
        have = [known[name].target for name in map(module_name, built) if name in known]
        return self.module_of(subject, configured, base, (*have, *lacking)) if lacking else None


def common_configuration(common: Artifact) -> str:
    """Return the text of a flavour's common configuration, from the artifact of `Stages.common`."""
    return (common.path / "out" / "base.config").read_text("utf-8", "replace")
