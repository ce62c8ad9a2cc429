"""Tools that know nothing of kernels: errors, subprocesses, paths, files, locks, text, screen, signals.

In: plain values from every other room.
Out: plain values, or one of the three errors that decide the exit code.
"""
