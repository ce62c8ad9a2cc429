"""Turn a command line into a call, and an exception into a message and an exit code.

In: the options of a command.
Out: an exit code: 0 as expected, 1 failure, 2 usage, 3 infrastructure.
"""
