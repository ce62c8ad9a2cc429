"""Name findings so that a later run names the same one the same, wherever its line moved. Pure."""

from __future__ import annotations

from collections import Counter

from kmodpipe.analysis.check.model import Finding, PatchReport
from kmodpipe.util.digest import digest_of


class Fingerprints:
    """Gives each finding of a report a name of its own."""

    def __init__(self) -> None:
        self._seen: Counter[str] = Counter()

    def of(self, check: str, patch: PatchReport, one: Finding) -> str:
        """Return the name of the next finding: of several equal ones, each has its number."""
        base = digest_of([check, one.rule, one.file, one.text, patch.subject or patch.name])
        self._seen[base] += 1
        return digest_of([base, self._seen[base]])[:40]
