"""Which of the lines that a series changes are executed, by which cases, in which cells.

    collect    the counters in a run's folder → `results.coverage.Coverage`
    gcov_job   gcov over all counters, in the builder      gcov_json   what it prints (pure)
    join       coverage × what the series changes → `Answer` (pure)
    text       the answer on the screen       page    the patch as a diff
    formats    lcov and Cobertura, by gcovr

In: a finished run of a flavour that counts. Out: cover.json, coverage.json, cover.html and the formats.
"""
