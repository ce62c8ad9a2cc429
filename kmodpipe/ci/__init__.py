"""Runs under a CI system: spread over many machines, or scheduled and skipped if nothing changed.

    invoke matrix ──► plan.json ──► invoke ci --cell … on any machine, N times ──► invoke collect

    job_plan        which job runs which cells
    formats         the plan in the form of each CI system
    collect         merge the jobs' results and compare them with the plan
    if_changed      `invoke ci --if-changed`: compare with the last run of the same command line

What has to be equal for results to be comparable is in `kmodpipe.pipeline.question`.

In: a `RunSpec`, a plan, results of jobs. Out: a plan, or one `Run`.
"""
