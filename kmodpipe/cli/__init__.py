"""The command line: turn it into a call, and an exception into a message and an exit code.

    options      the options of every command, as dataclasses
    tasks        Invoke tasks made from them
    commands     the commands; report and fan_out have those of `invoke report`, `matrix` and `collect`
    invocation   one call: project, command line, screen
    resolve      from options to a `RunSpec`
    exit         how an exception ends a command

In: the words of a command line. Out: an exit code: 0 as expected, 1 failure, 2 usage, 3 infrastructure.
"""
