"""Questions about a change that take more than one run: cover, ablate, bisect, check.

In: run specs and workspaces of `pipeline`. Out: frozen records of an answer, and files in its run folder.
"""
