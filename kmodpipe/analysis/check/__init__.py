"""Say of each patch what the mailing lists' bots would say, as a difference to the source before it.

    model          findings, outcomes of checks, and the report
    sections       what the recipes of images/check leave, in parts
    compiled       one state of the source, as it was compiled
    checkpatch kernel_doc sparse cocci stack sizes exports includes tags     one check each
    judge          join the states of a series to the outcomes of its patches
    tools run      the image of the checks, and the stages that are run
    as_run         the report as a run, for JUnit, HTML, the mail and the screen
    annotations sarif code_quality     for GitHub and GitLab

All but `tools` and `run` are pure.
"""
