"""Write a plan in the form of each CI system. Pure."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Mapping

from kmodpipe.ci import job_plan as plans
from kmodpipe.ci.job_plan import Plan, PlannedJob

JOB_TEMPLATE = "docs/ci/gitlab-job.yml"
"""The GitLab job that every generated job extends, a path in the repository that runs it."""


def gitlab(plan: Plan) -> str:
    """Return a child pipeline: the plan's jobs, and one that collects their results even if some fail."""
    lines = [
        "# Made by: kmodpipe matrix --format gitlab",
        "include:",
        f"  - local: {JOB_TEMPLATE}",
        "stages: [cells, collect]",
    ]
    for job in plan.jobs:
        lines += [
            "",
            f"{_quoted(job.name)}:",
            "  extends: .kmodpipe",
            "  stage: cells",
            "  script:",
            f"    - {_quoted(command(job))}",
            f"  artifacts: {{when: always, expire_in: 1 week, paths: [out/{job.job}]}}",
        ]
    lines += [
        "",
        "collect:",
        "  extends: .kmodpipe",
        "  stage: collect",
        "  when: always",
        "  # It reads and writes files; no engine, no machine.",
        '  variables: {KMODPIPE_COLLECTS: "yes", KMODPIPE_ENGINE: ""}',
        "  script:",
        "    - |",
        "      cat > plan.json <<'END-OF-PLAN'",
        *(f"      {line}" for line in plans.to_json(plan).splitlines()),
        "      END-OF-PLAN",
        "    - kmodpipe collect --plan plan.json --dir 'out/*' --out collected",
        "  artifacts:",
        "    when: always",
        "    expire_in: 4 weeks",
        "    paths: [collected, plan.json]",
        "    reports: {junit: collected/2*/junit.xml}",
    ]
    return "\n".join(lines)


def github(plan: Plan) -> str:
    """Return the value of ``strategy.matrix``, on one line."""
    rows = [{"job": job.job, "name": job.name, "arguments": shlex.join(_called(job))} for job in plan.jobs]
    return json.dumps({"include": rows})


def command(job: PlannedJob) -> str:
    """Return the shell command of a job."""
    return shlex.join(("kmodpipe", "ci", *_called(job)))


def _called(job: PlannedJob) -> tuple[str, ...]:
    # Each job has its own folder, as the artifacts of all jobs are unpacked into one place.
    return (*job.arguments, "--out", f"out/{job.job}")


def _quoted(text: str) -> str:
    """Return *text* as a YAML scalar; JSON strings are YAML."""
    return json.dumps(text)


FORMATS: Mapping[str, Callable[[Plan], str]] = {"gitlab": gitlab, "github": github, "json": plans.to_json}
