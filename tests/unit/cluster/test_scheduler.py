"""Where --on leads."""

from __future__ import annotations

import pytest

from kmodpipe.cluster import scheduler
from kmodpipe.cluster.settings import ClusterToml
from kmodpipe.util.errors import UserError

LAB = ClusterToml(launcher="slurm", requires={"kvm": 1})


def test_each_form_leads_somewhere() -> None:
    declared = {"lab": LAB, "there": ClusterToml(scheduler="tcp://h:8786")}
    assert scheduler.parse("local:3", declared).local == 3
    assert scheduler.parse("local", declared).local >= 1
    assert scheduler.parse("tls://h.example:8786", declared).address == "tls://h.example:8786"
    assert scheduler.parse("tcp://[::1]:8786", declared).address == "tcp://[::1]:8786"
    assert scheduler.parse("there", declared).address == "tcp://h:8786"
    assert scheduler.parse("lab", declared).requires == {"kvm": 1}
    # What is started for a run ends with it; its workers may stand in a queue.
    assert not scheduler.parse("lab", declared).lasts and scheduler.parse("there", declared).lasts
    assert scheduler.parse("lab", declared).patience_s > scheduler.parse("there", declared).patience_s


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("local:0", "takes a number of workers"),
        ("local:999", "from 1 to 512"),
        ("slurm", 'launcher = "slurm"'),
        ("local:x", "takes a number of workers"),
        ("local:", "takes a number of workers"),
        ("http://h:1", "is no address of a scheduler"),
        ("tcp://h", "is no address of a scheduler"),
        ("lap", "did you mean lab"),
        ("h:8786", "unknown cluster"),
    ],
)
def test_a_wrong_word_is_refused(word: str, said: str) -> None:
    with pytest.raises(UserError) as caught:
        scheduler.parse(word, {"lab": LAB})
    assert said in str(caught.value)
