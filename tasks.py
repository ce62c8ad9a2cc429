"""The tasks of this project for Invoke: parse, call the package, exit code. No logic.

They are declared in `kmodpipe.cli.tasks`, from the options' dataclasses.
"""

from pathlib import Path

from kmodpipe.cli.tasks import collection

namespace = collection(Path(__file__).resolve().parent)
