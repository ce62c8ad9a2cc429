"""A run whose cells are built and booted by the workers of a Dask scheduler: `--on`.

    settings        [tool.kmodpipe.cluster.NAME]: a scheduler, or one of Dask's launchers
    scheduler       connect to a scheduler, or start one
    bundle          the project's files, as they travel to a worker
    graph           the plan's tasks: bases, and the cells that wait for them
    facts           what a worker is, which it proves before it gets work
    worker          what runs on a worker
    parcel          what a worker hands back
    record          what a run folder keeps, to be attached to again
    crew            the workers while a run goes on
    far_run         watch the tasks, and merge what comes back into one run

In: a `RunSpec`, a plan. Out: a run folder as a local run leaves it. Only plain data travels: JSON and bytes.
"""
