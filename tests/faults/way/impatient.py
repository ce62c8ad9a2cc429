"""``invoke``, with servers given up after seconds and not minutes: what hangs is to be found out in a test.

The limits are the only thing that differs: ``python -m tests.faults.way.impatient WORDS``.
"""

from __future__ import annotations

import sys

from invoke.main import program

from kmodpipe.source import download, git_command

git_command._SILENCE_LIMIT_S = 2.0
download._READ_S = 1.0
download._FRUITLESS_TRIES = 2

if __name__ == "__main__":
    sys.argv[0] = "invoke"
    program.run()
