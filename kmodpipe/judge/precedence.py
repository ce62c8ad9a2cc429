"""The precedence of a setting's layers: mount option over module parameter over Kconfig default. Pure.

A case with settings has no list of expected outcomes: the guest tries every pair of a parameter's state and a
mount option, and the expected observation of each pair is computed here from that one rule.

    STATE/OPTION   ``unset/none``, ``load=2/index=off``, ``run=bogus/none``: an argument of the script, and
                   the key of its observation
    set=ok reads=2 mount=mounted shown=off stored=real after=mounted    the value, expected and observed
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from kmodpipe.logs.ktap import Subtest

# The outcomes of a case with settings.
AS_RULED, BROKEN = "as-ruled", "rule-broken"
# The guest's outcome when it has tried all pairs. They are judged here.
PROBED = "probed"
# No mount option.
NONE = "none"


@dataclass(frozen=True)
class Default:
    """The value by Kconfig in cells whose choice matches ``when``; an axis they lack counts as n."""

    value: str
    when: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def matches(self, choice: Mapping[str, str]) -> bool:
        return all(choice.get(axis, "n") in allowed for axis, allowed in self.when.items())


@dataclass(frozen=True)
class Setting:
    """One setting as some designs have it."""

    designs: tuple[str, ...]
    # Name of the module parameter.
    parameter: str
    # The first that matches applies.
    defaults: tuple[Default, ...]
    # By value: the text that reading the parameter gives.
    reads: Mapping[str, str]
    # By text that the parameter accepts: the value.
    accepts: Mapping[str, str]
    # By mount option: the value.
    options: Mapping[str, str]
    # By value: the effect of a mount with it, as ``shown`` in /proc/mounts unless the value is the default,
    # ``stored`` and ``after``.
    effects: Mapping[str, Mapping[str, str]]
    # More texts that the parameter accepts, tried without a mount option only.
    aliases: Mapping[str, str] = field(default_factory=dict)
    # Texts that the parameter must refuse.
    refuses: tuple[str, ...] = ()
    # Mount options that the kernel must reject.
    rejects: tuple[str, ...] = ()
    # Mount options that every mount has in addition.
    base: str = ""

    @property
    def arguments(self) -> tuple[str, ...]:
        """The script's arguments: parameter, options of every mount, and each pair."""
        return (self.parameter, self.base or "default", *self.pairs())

    def pairs(self) -> tuple[str, ...]:
        """Return all pairs, those of one state together, as each state costs the guest a reload."""
        options = (NONE, *self.options, *self.rejects)
        found = [f"unset/{option}" for option in options]
        for how in ("load", "run"):
            found += [f"{how}={value}/{option}" for value in self.accepts for option in options]
            found += [f"{how}={value}/{NONE}" for value in self.aliases]
        found += [f"load={value}/{NONE}" for value in self.refuses]
        found += [f"run={value}/{option}" for value in self.refuses for option in (NONE, *self.options)]
        return tuple(found)

    def default(self, choice: Mapping[str, str]) -> str:
        """Return the value that Kconfig gives in a cell with this choice of the axes."""
        return next(d.value for d in self.defaults if d.matches(choice))

    def expected(self, pair: str, choice: Mapping[str, str]) -> str:
        """Return the observation that is expected of a pair in a cell with this choice of the axes."""
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
        """Return each pair as a subtest, with its observation, and what was expected if that differs."""
        return tuple(self._compare(pair, observed.get(pair), choice) for pair in self.pairs())

    def _compare(self, pair: str, observed: str | None, choice: Mapping[str, str]) -> Subtest:
        expected = self.expected(pair, choice)
        if observed is None:
            return Subtest(pair, "fail", f"not observed; expected {expected}")
        if observed == expected:
            return Subtest(pair, "pass", observed)
        missing = [f"{key}={value}" for key, value in _differences(expected, observed)]
        return Subtest(pair, "fail", f"expected {' '.join(missing)}; observed {observed}")


def faults(setting: Setting) -> Iterator[str]:
    """Yield the errors in a setting's definition."""
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
    """Yield the fields of ``expected`` that ``observed`` lacks or has with another value."""
    seen = dict(part.partition("=")[::2] for part in observed.split())
    for part in expected.split():
        key, _, value = part.partition("=")
        if seen.get(key) != value:
            yield key, value
