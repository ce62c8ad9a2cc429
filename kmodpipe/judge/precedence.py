"""A layered setting: mount option over module parameter over Kconfig default. Pure.

A case with settings is not judged by outcomes that somebody listed: every pair of a parameter's state and a
mount option is tried in the guest, and what each has to show is computed here from the one rule.

    STATE/OPTION   ``unset/none``, ``load=2/index=off``, ``run=bogus/none``: argument, and observation's key
    set=ok reads=2 mount=mounted shown=off stored=real after=mounted          what is expected, and observed
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from kmodpipe.logs.ktap import Subtest

AS_RULED, BROKEN = "as-ruled", "rule-broken"
"""The outcomes of a case with settings."""
PROBED = "probed"
"""What the guest says when it came through all pairs: it judges nothing."""
NONE = "none"


@dataclass(frozen=True)
class Default:
    """The value that Kconfig gives where ``when`` matches the cell's choice; an axis it lacks counts as n."""

    value: str
    when: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def matches(self, choice: Mapping[str, str]) -> bool:
        return all(choice.get(axis, "n") in allowed for axis, allowed in self.when.items())


@dataclass(frozen=True)
class Setting:
    """What one setting is in some designs.

    ``reads`` maps each value to how the parameter shows it; ``accepts`` a spelling of the parameter to its
    value, ``aliases`` further ones, tried without a mount option only; ``refuses`` what it must not take.
    ``options`` maps a mount option to its value, ``rejects`` are those the kernel must not know. ``effects``
    maps a value to what a mount with it shows: ``shown`` in /proc/mounts unless it is the default, ``stored``
    and ``after``. ``base``: options that every mount has beside.
    """

    designs: tuple[str, ...]
    parameter: str
    defaults: tuple[Default, ...]
    reads: Mapping[str, str]
    accepts: Mapping[str, str]
    options: Mapping[str, str]
    effects: Mapping[str, Mapping[str, str]]
    aliases: Mapping[str, str] = field(default_factory=dict)
    refuses: tuple[str, ...] = ()
    rejects: tuple[str, ...] = ()
    base: str = ""

    @property
    def arguments(self) -> tuple[str, ...]:
        """The script's arguments: parameter, options of every mount, and each pair."""
        return (self.parameter, self.base or "default", *self.pairs())

    def pairs(self) -> tuple[str, ...]:
        """The full product, the pairs of one state together: entering a state costs the guest a reload."""
        options = (NONE, *self.options, *self.rejects)
        found = [f"unset/{option}" for option in options]
        for how in ("load", "run"):
            found += [f"{how}={value}/{option}" for value in self.accepts for option in options]
            found += [f"{how}={value}/{NONE}" for value in self.aliases]
        found += [f"load={value}/{NONE}" for value in self.refuses]
        found += [f"run={value}/{option}" for value in self.refuses for option in (NONE, *self.options)]
        return tuple(found)

    def default(self, choice: Mapping[str, str]) -> str:
        return next(d.value for d in self.defaults if d.matches(choice))

    def expected(self, pair: str, choice: Mapping[str, str]) -> str:
        """What the pair has to show in a cell with this choice of the axes."""
        state, _, option = pair.partition("/")
        how, _, text = state.partition("=")
        kconfig = self.default(choice)
        given = {**self.accepts, **self.aliases}.get(text) if how != "unset" else None
        if how == "load" and given is None:
            return _row(set="refused", reads="-")
        parameter = given or kconfig
        taken = "-" if how == "unset" else "ok" if given else "refused"
        row = {"set": taken, "reads": self.reads[parameter]}
        if option in self.rejects:
            return _row(**row, mount="EINVAL")
        value = self.options.get(option, parameter)
        effect = self.effects[value]
        shown = "default" if value == parameter else effect["shown"]
        return _row(**row, mount="mounted", shown=shown, stored=effect["stored"], after=effect["after"])

    def compare(self, observed: Mapping[str, str], choice: Mapping[str, str]) -> tuple[Subtest, ...]:
        """Each pair as a subtest: a pass notes what was seen, a failure what was expected instead."""
        return tuple(self._compare(pair, observed.get(pair), choice) for pair in self.pairs())

    def _compare(self, pair: str, observed: str | None, choice: Mapping[str, str]) -> Subtest:
        expected = self.expected(pair, choice)
        if observed is None:
            return Subtest(pair, "fail", f"not observed; expected {expected}")
        if observed == expected:
            return Subtest(pair, "pass", observed)
        told = [f"{key}={value}" for key, value in _differences(expected, observed)]
        return Subtest(pair, "fail", f"expected {' '.join(told)}; observed {observed}")


def faults(setting: Setting) -> Iterator[str]:
    """What is wrong with a setting as it stands in a file."""
    values = set(setting.reads)
    for name, found in (
        ("defaults", {d.value for d in setting.defaults}),
        ("accepts", set(setting.accepts.values())),
        ("aliases", set(setting.aliases.values())),
        ("options", set(setting.options.values())),
    ):
        for value in sorted(found - values):
            yield f"{name} has the value {value!r}, which reads does not know"
    if values != set(setting.effects):
        yield "reads and effects are not about the same values"
    for value, effect in setting.effects.items():
        if set(effect) != {"shown", "stored", "after"}:
            yield f"effects.{value} needs shown, stored and after"
    if not setting.defaults or setting.defaults[-1].when:
        yield "the last default holds everywhere: it has no when"
    spelt: Sequence[str] = [*setting.accepts, *setting.aliases, *setting.refuses]
    if len(set(spelt)) != len(spelt):
        yield "a spelling of the parameter stands twice"
    if any("/" in text for text in spelt):
        yield "a spelling of the parameter holds a slash"


def _row(**fields: str) -> str:
    return " ".join(f"{key}={value}" for key, value in fields.items())


def _differences(expected: str, observed: str) -> Iterator[tuple[str, str]]:
    """The fields of ``expected`` that ``observed`` has otherwise or not at all."""
    seen = dict(part.partition("=")[::2] for part in observed.split())
    for part in expected.split():
        key, _, value = part.partition("=")
        if seen.get(key) != value:
            yield key, value
