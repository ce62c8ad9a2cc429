"""What every receiver has: a token, and parcels that are the same each time."""

from __future__ import annotations

from kmodpipe.publish import run_data
from kmodpipe.publish.run_data import RunData
from tests.support.sample_receivers import http, receiver, squad_receiver


def test_a_token_in_the_clear_is_allowed_on_loopback_and_where_it_is_meant() -> None:
    assert http(**{"url": "http://127.0.0.1:1/{run}", "token-env": "T"})
    assert http(**{"url": "http://[::1]:1/{run}", "token-env": "T"})
    assert http(**{"url": "http://files.example.org/{run}", "token-env": "T", "insecure": True})


def test_the_same_run_makes_the_same_parcels(finished: RunData) -> None:
    for one in (http(), squad_receiver(), receiver(kind="kcidb", origin="kmodpipe", file="k.json")):
        again = run_data.load(finished.folder)
        assert [p.key for p in one.parcels(finished)] == [p.key for p in one.parcels(again)]
