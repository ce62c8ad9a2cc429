"""A sample of cells has every combination that a legal cell has, and is small."""

from __future__ import annotations

import itertools
import random

import pytest

from kmodpipe.kconfig.sample import sample


def product(**axes: str) -> list[dict[str, str]]:
    return [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]


def combinations(choice: dict[str, str], strength: int) -> set[tuple[tuple[str, str], ...]]:
    return set(itertools.combinations(choice.items(), strength))


SEVEN = product(A="yn", B="yn", C="yn", D="yn", E="yn", F="yn", G="yn")


def test_pairs_of_seven_axes_take_some_ten_cells_of_128() -> None:
    found = sample(SEVEN, [True] * len(SEVEN), 2)
    assert found.covered == 4 * 21 and found.impossible == ()
    # Six are the least, for up to ten axes of two values (Kleitman and Spencer, 1973).
    assert len(found.chosen) <= 10


@pytest.mark.parametrize("strength", [1, 2, 3])
def test_every_combination_of_a_legal_choice_is_in_a_chosen_one(strength: int) -> None:
    chance = random.Random(strength)
    for _ in range(60):
        axes = {name: "ymn01"[: chance.randint(1, 5)] for name in "ABCDE"[: chance.randint(1, 5)]}
        choices = product(**axes)
        legal = [chance.random() < 0.6 for _ in choices]
        found = sample(choices, legal, strength)
        size = min(strength, len(axes))
        wanted = {
            one for choice, ok in zip(choices, legal, strict=True) if ok for one in combinations(choice, size)
        }
        had = {one for at in found.chosen for one in combinations(choices[at], size)}
        every = {one for choice in choices for one in combinations(choice, size)}
        assert had == wanted and all(legal[at] for at in found.chosen)
        assert (found.covered, set(found.impossible)) == (len(wanted), every - wanted)
        assert found == sample(choices, legal, strength)


def test_a_pair_that_no_legal_choice_has_is_named() -> None:
    choices = product(INDEX="yn", NOUUID="yn")
    legal = [not (c["INDEX"] == "n" and c["NOUUID"] == "y") for c in choices]
    found = sample(choices, legal, 2)
    assert found.impossible == ((("INDEX", "n"), ("NOUUID", "y")),)
    assert found.chosen == (0, 1, 3)


def test_without_axes_or_legal_choices_there_is_little_to_choose() -> None:
    assert sample([{}], [True], 2).chosen == (0,)
    assert sample([{}], [False], 2).chosen == ()
    assert sample([], [], 2).chosen == ()
    assert sample(product(A="y"), [True], 2).chosen == (0,)


def test_a_thousand_choices_take_no_time_to_speak_of() -> None:
    choices = product(**dict.fromkeys("ABCDEFGHIJ", "yn"))
    found = sample(choices, [True] * len(choices), 2)
    assert len(choices) == 1024 and len(found.chosen) <= 14
