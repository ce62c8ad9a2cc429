"""An answer of `bisect`."""

from __future__ import annotations

from kmodpipe.analysis.bisect.model import SCHEMA, VERSION, Answer, Kind, Result, Seen, Side, Suspect

GOOD = Seen("unpatched", "", Side.GOOD, {"ESTALE": 1})
BAD = Seen("posted", "0002-b.patch", Side.BAD, {"mounted": 7, "died": 3}, command="kmodpipe test …")
ANSWER = Answer(
    SCHEMA, VERSION, Kind.COMMIT, Result.FOUND, "a range", "remount", "it is this one", GOOD, BAD,
    found=(Suspect("0123", "ovl: a change"),), before=GOOD, after=BAD, steps=(GOOD, BAD),
    look=("kmodpipe test …",),
)  # fmt: skip
