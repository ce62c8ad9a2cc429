"""Keep what became of each edit in each cell, so that a run goes on where one was killed.

    CACHE/answers/ablate/<key>.json

The key is made of all that an outcome depends on but the cases: what the cell's whole series builds and
boots, how it is judged, and what the edit changes the files to. The cases' results are inside, by the case's
own digest: a case that is edited, or added, runs alone; the others' results stay.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from pathlib import Path

from kmodpipe.analysis.ablate.outcomes import Seen
from kmodpipe.results import Verdict
from kmodpipe.util import document
from kmodpipe.util.digest import digest_of
from kmodpipe.util.files import write_atomically

_SCHEMA, _VERSION = "kmodpipe-ablate-answer", 1


class Built(StrEnum):
    """What came of building an edit in a cell."""

    # Not tried yet.
    UNTRIED = "untried"
    # Another module than that of the whole series.
    DIFFERS = "differs"
    SAME = "same"
    COMPILER = "compiler"
    KCONFIG = "kconfig"


@dataclass(frozen=True)
class Record:
    """What is known of an edit in a cell."""

    built: Built = Built.UNTRIED
    # The compiler's error, or why the cell cannot be configured.
    reason: str = ""
    # By the case's digest.
    cases: Mapping[str, Seen] = field(default_factory=dict)
    # The ids of hunks without which it does not build.
    together: tuple[str, ...] = ()

    def with_cases(self, found: Mapping[str, Seen]) -> Record:
        """Return the record with these results in place of earlier ones."""
        return replace(self, cases={**self.cases, **found})


class Memory:
    """Reads and writes the records of one cache."""

    def __init__(self, cache: Path) -> None:
        self._folder = cache / "answers" / "ablate"

    def _path(self, ground: str, edit: str) -> Path:
        return self._folder / f"{digest_of([_VERSION, ground, edit])[:40]}.json"

    def recall(self, ground: str, edit: str) -> Record:
        """Return what is known of an edit, by its digest, on this ground; a damaged record is forgotten."""
        with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
            found = document.read_object(self._path(ground, edit))
            if (found["schema"], found["version"]) == (_SCHEMA, _VERSION):
                return Record(
                    Built(found["built"]),
                    str(found["reason"]),
                    {str(key): _seen(one) for key, one in found["cases"].items()},
                    tuple(map(str, found["together"])),
                )
        return Record()

    def keep(self, ground: str, edit: str, record: Record) -> None:
        """Write what is known. A cache that cannot be written to is no failure: it is found out again.

        A case that was not steady is left out, and runs anew the next time: the machine may have been busy.
        """
        made = {
            "schema": _SCHEMA,
            "version": _VERSION,
            "built": record.built.value,
            "reason": record.reason,
            "cases": {key: asdict(one) for key, one in record.cases.items() if not one.unsteady},
            "together": list(record.together),
        }
        with suppress(OSError):
            self._folder.mkdir(parents=True, exist_ok=True)
            write_atomically(self._path(ground, edit), json.dumps(made, indent=1, sort_keys=True))


def _seen(one: Mapping[str, object]) -> Seen:
    return Seen(
        str(one["case"]), Verdict(str(one["verdict"])), str(one["outcome"]), int(str(one["times"])),
        one["unsteady"] is True,
    )  # fmt: skip
