"""`invoke fetch` and `invoke patch`."""

from __future__ import annotations

from kmodpipe.cli.invocation import Invocation
from kmodpipe.cli.options import SourceOptions, TreeOptions
from kmodpipe.cli.resolve import resolve
from kmodpipe.pipeline import workspace
from kmodpipe.pipeline.patched import patch_trees
from kmodpipe.util.errors import ExitCode
from kmodpipe.util.text import count


def fetch(options: TreeOptions, call: Invocation) -> int:
    """Fetch each kernel, and print its version, provenance and path."""
    spec, screen = resolve(options, call), call.screen
    with call.cache() as cache:
        trees = workspace.fetch_kernels(spec, cache, screen)
    for tree in trees.values():
        screen.print(f"{tree.name}: Linux {tree.kernel_version}")
        for name, value in tree.provenance.items():
            screen.print(f"  {name}: {value}")
        screen.print(f"  path: {tree.path}")
    return ExitCode.OK


def patch(options: SourceOptions, call: Invocation) -> int:
    """Apply each series, and print the patched trees; or for a tree that it does not apply to, the reason."""
    spec, screen = resolve(options, call), call.screen
    with call.cache() as cache:
        trees = workspace.fetch_kernels(spec, cache, screen)
        parts = {kernel: spec.on(kernel) for kernel in trees}
        module = workspace.fetch_module(spec, cache, screen)
        patched = patch_trees(parts, trees, module, cache, screen)
    for kernel, found in patched.items():
        for subject in found.subjects:
            if subject.series:
                number = len(subject.series.patches)
                apply = f"{count(number, 'patch', 'patches')} {'applies' if number == 1 else 'apply'}"
                screen.print(f"{subject.series.name}: {apply} to {trees[kernel].name}")
                for one in subject.series.patches:
                    screen.print(f"  {one.name}")
                screen.print(f"  path: {subject.src}")
        for name, reason in found.reasons.items():
            screen.print(f"{name}: not applied to {trees[kernel].name}: {reason}")
    return ExitCode.OK
