"""The command line: turn it into a call, and an exception into a message and an exit code.

    entry        where the program begins; program is Invoke's Program with our errors and help
    usage        check the words, each with the nearest right one; completion: what Tab offers
    options      the options of every command, as dataclasses; option declares one
    tasks        Invoke tasks made from them
    commands     the commands; report, fan_out and clean have the larger ones
    config_check what `config check` reads and says
    schemas      JSON Schemas and reference pages of our files
    invocation   one call: project, command line, screen
    resolve      from options to a `RunSpec`
    exit         how an exception ends a command

In: the words of a command line. Out: an exit code: 0 as expected, 1 failure, 2 usage, 3 infrastructure.
"""

import sys

# Invoke turns this off unless it is given --write-pyc: Python compiles the modules of a checkout again for
# each command: a quarter of a short one. The user's own wish (PYTHONDONTWRITEBYTECODE, -B) stands.
sys.dont_write_bytecode = bool(sys.flags.dont_write_bytecode)
