"""Each module of the package has a test file of its own name, or a row that says where it is tested."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.support import REPO

UNIT = "tests/unit"

# What kmodpipe/<module>.py does is held by these tests. A module that is not here has tests of its own name:
# tests/unit/<room>/test_<file>.py, or test_<file>_<topic>.py; what is in a package itself, test_init.py.
ELSEWHERE: Mapping[str, str] = {
    "__main__": "tests/integration/test_wheel.py",
    "analysis/ablate/bench": "tests/pipeline/test_ablate.py",
    "analysis/ablate/guests": "tests/pipeline/test_ablate.py",
    "analysis/ablate/modules": "tests/pipeline/test_ablate.py",
    "analysis/ablate/run": "tests/pipeline/test_ablate.py",
    "analysis/ablate/show": "tests/unit/analysis/ablate/test_records.py",
    "analysis/ablate/study": "tests/pipeline/test_ablate.py",
    "analysis/ablate/observe": "tests/unit/analysis/ablate/test_operators.py",
    "analysis/cover/ask": "tests/integration/test_cover.py",
    "analysis/cover/gcov_job": "tests/unit/analysis/cover/test_collect.py",
    "analysis/bisect/commits": "tests/pipeline/test_bisect.py",
    "analysis/bisect/ends": "tests/pipeline/test_bisect.py",
    "analysis/bisect/model": "tests/unit/analysis/bisect/test_wording.py",
    "analysis/bisect/patches": "tests/pipeline/test_bisect.py",
    "analysis/bisect/probe": "tests/pipeline/test_bisect.py",
    "analysis/bisect/question": "tests/pipeline/test_bisect.py",
    "analysis/bisect/search": "tests/pipeline/test_bisect.py",
    "analysis/bisect/symbols": "tests/pipeline/test_bisect.py",
    "analysis/check/run": "tests/pipeline/test_check.py",
    "analysis/check/tools": "tests/pipeline/test_check.py",
    "build/check_image": "tests/integration/test_check.py",
    "build/check_recipes": "tests/pipeline/test_check.py",
    "cache/share/registry": "tests/unit/cache/share/test_init.py",
    "cli/checking": "tests/pipeline/test_check.py",
    "build/image_build": "tests/unit/build/test_builder_image.py",
    "build/configured": "tests/pipeline/test_pipeline.py",
    "build/runtime/docker": "tests/integration/test_container.py",
    "build/runtime/docker_engine": "tests/unit/host/test_setup.py",
    "build/runtime/job": "tests/unit/build/runtime/test_host.py",
    "build/runtime/job_output": "tests/integration/test_container.py",
    "build/shared_image": "tests/integration/test_fanout.py",
    "build/guest_stages": "tests/pipeline/test_tools.py",
    "build/external_stage": "tests/pipeline/test_own_module.py",
    "build/stage": "tests/pipeline/test_pipeline.py",
    "build/stages": "tests/pipeline/test_pipeline.py",
    "ci/if_changed": "tests/pipeline/test_if_changed.py",
    "cli/ablating": "tests/pipeline/test_ablate.py",
    "cli/far": "tests/integration/test_cluster.py",
    "cluster/crew": "tests/integration/test_cluster.py",
    "cluster/far_run": "tests/integration/test_cluster.py",
    "cluster/greeting": "tests/integration/test_cluster.py",
    "cluster/record": "tests/unit/cluster/test_gathered.py",
    "cluster/worker": "tests/integration/test_cluster.py",
    "cli/first_try": "tests/pipeline/test_try.py",
    "cli/entry": "tests/unit/cli/test_program.py",
    "cli/building": "tests/pipeline/test_pipeline.py",
    "cli/chosen_cases": "tests/pipeline/test_command_line.py",
    "cli/by_hand": "tests/integration/test_by_hand.py",
    "cli/bisect": "tests/pipeline/test_bisect.py",
    "cli/options/bisect": "tests/unit/cli/options/test_init.py",
    "cli/commands": "tests/pipeline/test_pipeline.py",
    "cli/covering": "tests/integration/test_cover.py",
    "cli/exit": "tests/pipeline/test_pipeline.py",
    "cli/fan_out": "tests/unit/ci/test_job_plan.py",
    "cli/invocation": "tests/unit/cli/test_resolve.py",
    "cli/option": "tests/unit/cli/options/test_init.py",
    "cli/options/analysis": "tests/unit/cli/options/test_init.py",
    "cli/options/cells": "tests/unit/cli/options/test_init.py",
    "cli/options/derived": "tests/unit/cli/options/test_init.py",
    "cli/options/others": "tests/unit/cli/options/test_init.py",
    "cli/options/runs": "tests/unit/cli/options/test_init.py",
    "cli/publishing": "tests/unit/publish/test_publisher.py",
    "cli/running": "tests/pipeline/test_pipeline.py",
    "cli/watching": "tests/pipeline/test_watch.py",
    "cli/sources": "tests/unit/pipeline/test_workspace.py",
    "cli/project_root": "tests/unit/cli/test_completion.py",
    "cli/tasks": "tests/unit/cli/options/test_init.py",
    "judge/excerpts": "tests/unit/judge/test_verdict.py",
    "judge/retries": "tests/unit/judge/test_attempts.py",
    "judge/case_toml": "tests/unit/judge/test_cases.py",
    "kconfig/matrix_toml": "tests/unit/kconfig/test_matrix.py",
    "kconfig/mentions": "tests/unit/kconfig/test_ownership.py",
    "kconfig/statements": "tests/unit/kconfig/test_parser.py",
    "logs/crash_report": "tests/unit/logs/test_kernel_log.py",
    "logs/ktap_lines": "tests/unit/logs/test_ktap.py",
    "logs/ktap_result": "tests/unit/logs/test_ktap.py",
    "logs/ktap_section": "tests/unit/logs/test_ktap.py",
    "pipeline/cell_run": "tests/pipeline/test_guests.py",
    "pipeline/axis_values": "tests/pipeline/test_series_kconfig.py",
    "logs/event": "tests/unit/logs/test_kernel_log.py",
    "logs/signatures/exceptions": "tests/unit/logs/signatures/test_init.py",
    "logs/signatures/general": "tests/unit/logs/signatures/test_init.py",
    "logs/signatures/locking": "tests/unit/logs/signatures/test_init.py",
    "logs/signatures/memory": "tests/unit/logs/signatures/test_init.py",
    "logs/signatures/messengers": "tests/unit/logs/signatures/test_init.py",
    "logs/signatures/model": "tests/unit/logs/signatures/test_init.py",
    "logs/signatures/progress": "tests/unit/logs/signatures/test_init.py",
    "logs/signatures/unknown": "tests/unit/logs/signatures/test_init.py",
    "logs/signatures/watched": "tests/unit/logs/signatures/test_init.py",
    "logs/trace_lines": "tests/unit/logs/test_kernel_log.py",
    "logs/watch": "tests/unit/judge/test_cases.py",
    "pipeline/building": "tests/pipeline/test_pipeline.py",
    "pipeline/cell_folder": "tests/pipeline/test_pipeline.py",
    "pipeline/dry_run": "tests/pipeline/test_pipeline.py",
    "pipeline/first_config": "tests/pipeline/test_try.py",
    "pipeline/first_files": "tests/pipeline/test_try.py",
    "pipeline/project_toml": "tests/unit/util/test_shipped.py",
    "pipeline/planned_run": "tests/pipeline/test_pipeline.py",
    "pipeline/patched": "tests/unit/pipeline/test_workspace.py",
    "pipeline/provenance": "tests/pipeline/test_pipeline.py",
    "pipeline/requested_symbols": "tests/pipeline/test_command_line.py",
    "pipeline/run": "tests/pipeline/test_pipeline.py",
    "pipeline/series_kconfig": "tests/pipeline/test_series_kconfig.py",
    "pipeline/sampling": "tests/pipeline/test_sample.py",
    "pipeline/stage_maker": "tests/pipeline/test_keys.py",
    "pipeline/tools": "tests/pipeline/test_tools.py",
    "publish/http_client": "tests/integration/test_publish.py",
    "publish/payload": "tests/unit/publish/test_outbox.py",
    "report/junit_suites": "tests/unit/report/test_junit.py",
    "report/junit_text": "tests/unit/report/test_junit.py",
    "results/model": "tests/unit/results/test_filling.py",
    "report/html/failures": "tests/unit/report/html/test_init.py",
    "report/html/records": "tests/unit/report/html/test_init.py",
    "report/html/shown": "tests/unit/report/html/test_init.py",
    "report/html/view": "tests/unit/report/html/test_init.py",
    "series/from_list": "tests/integration/test_series_from_list.py",
    "series/series_toml": "tests/unit/series/test_load.py",
    "series/model": "tests/unit/series/test_load.py",
    "source/apt_root": "tests/unit/source/test_packages.py",
    "source/build_products": "tests/unit/source/test_directory.py",
    "source/checkout": "tests/unit/source/test_git.py",
    "source/connectivity": "tests/unit/source/test_init.py",
    "source/download": "tests/integration/test_source.py",
    "source/git_command": "tests/unit/source/test_git.py",
    "source/history": "tests/integration/test_fanout.py",
    "source/origin": "tests/unit/source/test_tree.py",
    "source/user_git": "tests/unit/source/test_directory.py",
    "util/child_output": "tests/unit/util/test_process.py",
    "util/picture": "tests/pipeline/test_watch.py",
    "util/sudo": "tests/unit/host/test_setup.py",
    "vm/accel_rom": "tests/unit/vm/test_accel.py",
    "vm/boot_record": "tests/unit/vm/test_boot.py",
    "vm/capped_log": "tests/unit/vm/test_boot.py",
    "vm/limits": "tests/unit/vm/test_boot.py",
    "vm/watchdog": "tests/unit/vm/test_boot.py",
    "watch/loop": "tests/pipeline/test_watch.py",
    "watch/messages": "tests/pipeline/test_watch.py",
    "watch/reading": "tests/pipeline/test_watch.py",
    "watch/state": "tests/pipeline/test_watch.py",
}
# Folders of unit tests for what is not Python: the guest's agent, the compiler's wrapper.
C_SOURCES: Mapping[str, str] = {"agent": "images/guest/agent", "builder": "images/builder"}


def test_every_module_has_its_tests_where_they_are_looked_for() -> None:
    assert list(faults(REPO, ELSEWHERE, C_SOURCES)) == []


def test_what_is_missing_or_stale_is_found(tmp_path: Path) -> None:
    for name in ("kmodpipe/a/b.py", "kmodpipe/a/moved.py", "kmodpipe/a/lost.py", "kmodpipe/a/own.py"):
        _write(tmp_path / name, "x = 1\n")
    _write(tmp_path / "kmodpipe/a/__init__.py", '"""A room."""\nfrom .b import x\n__all__ = ["x"]\n')
    for name in (
        "unit/a/test_b.py",
        "unit/a/test_own_topic.py",
        "unit/a/test_nothing.py",
        "pipeline/test_x.py",
    ):
        _write(tmp_path / "tests" / name, "")
    elsewhere = {
        "a/moved": "tests/pipeline/test_x.py",
        "a/b": "tests/pipeline/test_x.py",
        "a/gone": "tests/pipeline/test_x.py",
        "a/lost": "tests/pipeline/test_gone.py",
    }
    assert list(faults(tmp_path, elsewhere, {})) == [
        "kmodpipe/a/b.py has tests of its own name: its row is stale",
        "kmodpipe/a/gone.py is not there: its row is stale",
        "kmodpipe/a/lost.py is said to be tested in tests/pipeline/test_gone.py, which is not there",
        "tests/unit/a/test_nothing.py: no module of that name",
    ]
    del elsewhere["a/lost"]
    assert "kmodpipe/a/lost.py has no tests, and no row that says where it is tested" in list(
        faults(tmp_path, elsewhere, {})
    )


def faults(root: Path, elsewhere: Mapping[str, str], c_sources: Mapping[str, str]) -> Iterator[str]:
    """What does not mirror, a line each, in the order of the names."""
    package, unit = root / "kmodpipe", root / UNIT
    modules = {str(p.relative_to(package).with_suffix("")): p for p in package.rglob("*.py")}
    tests = {p.relative_to(unit): "" for p in sorted(unit.rglob("test_*.py")) if p.parent != unit}
    for test in tests:
        tests[test] = max((name for name in modules if mirrors(test, name)), key=len, default="")
    for name in sorted(modules.keys() | elsewhere.keys()):
        own, row = name in tests.values(), elsewhere.get(name)
        if name not in modules:
            yield f"kmodpipe/{name}.py is not there: its row is stale"
        elif own and row:
            yield f"kmodpipe/{name}.py has tests of its own name: its row is stale"
        elif row and not (root / row).is_file():
            yield f"kmodpipe/{name}.py is said to be tested in {row}, which is not there"
        elif not own and not row and _has_code(modules[name]):
            yield f"kmodpipe/{name}.py has no tests, and no row that says where it is tested"
    for test, module in tests.items():
        source = root / c_sources.get(str(test.parent), "") / f"{test.stem.removeprefix('test_')}.c"
        if not module and not source.is_file():
            yield f"{UNIT}/{test}: no module of that name"


def mirrors(test: Path, module: str) -> bool:
    """Whether a test file has the name of a module, or begins with it (``test_<file>_<topic>.py``)."""
    folder, _, stem = module.rpartition("/")
    name = f"test_{stem.strip('_')}"
    return str(test.parent) == (folder or ".") and (test.stem == name or test.stem.startswith(f"{name}_"))


def _has_code(path: Path) -> bool:
    """Whether a module does more than to import, to say what it is, and to list its names."""
    for node in ast.parse(path.read_text("utf-8")).body:
        match node:
            case ast.Import() | ast.ImportFrom() | ast.Expr(value=ast.Constant()):
                pass
            case ast.Assign(targets=[ast.Name(id="__all__" | "__version__")]):
                pass
            case _:
                return True
    return False


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
