"""Read what a command line means again, after a change."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from kmodpipe.util.screen import Screen
from kmodpipe.watch import places, touching
from kmodpipe.watch.inputs import Inputs, facts
from kmodpipe.watch.messages import Read, Reading
from kmodpipe.watch.state import Commands


def again(commands: Commands, out: Path, before: Inputs, trees: Mapping[str, str]) -> Read:
    """Read the files of a command line; in a thread of its own. What goes wrong is returned.

    ``out`` is the folder for results, ``trees`` says how often each tree changed.
    """
    try:
        spec = commands.read(Screen.unseen())
        inputs = Inputs(spec, facts(spec, trees))
        touched = touching.cases(out, before, inputs)
        return Read(Reading(inputs, places.of(spec, commands.files), touched))
    except BaseException as e:
        return Read(None, e)
