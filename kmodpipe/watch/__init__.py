"""Run the cases again after each change of a file.

In: the files that a command line reads. Out: the last verdict of every cell and case, on one screen, and a
bounded history of runs.
"""
