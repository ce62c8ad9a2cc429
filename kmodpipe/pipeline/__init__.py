"""Run everything from a tree to results: plan, build, boot, judge, record.

In: the project's configuration and what the command line selected.
Out: a run folder with results.json, JUnit, HTML, logs, and a reproduce.sh for each cell.
"""
