"""Defects that no case fails for: which of cover, ablate and cover --inject leads to each."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests import seeded
from tests.integration.conftest import require_machinery, show
from tests.seeded import Answers, Seeded

pytestmark = [
    pytest.mark.integration,
    pytest.mark.thorough,
    pytest.mark.kernels,
    pytest.mark.timeout(5400),
]
EVERY = seeded.load()


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Answers]:
    """All defects in one series, asked about once; the table is printed at the end."""
    require_machinery()
    found = seeded.ask(EVERY, tmp_path_factory.mktemp("seeded"))
    yield found
    show(request, seeded.table(EVERY, found))


def test_the_cases_pass_with_all_of_them(answers: Answers) -> None:
    assert answers.failed == ()


@pytest.mark.parametrize("one", EVERY, ids=[one.name for one in EVERY])
def test_what_leads_to_it(answers: Answers, one: Seeded) -> None:
    assert tuple(tool for tool, how in answers.of(one).items() if how) == one.leads


def test_most_are_led_to_by_something(answers: Answers) -> None:
    assert sum(any(answers.of(one).values()) for one in EVERY) >= 8
