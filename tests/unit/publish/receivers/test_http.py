"""A run as a file for any HTTP server."""

from __future__ import annotations

from kmodpipe.publish.run_data import RunData
from tests.support.sample_receivers import http


def test_http_sends_the_junit_file_as_it_is(finished: RunData) -> None:
    (parcel,) = http().parcels(finished)
    request = http().request(parcel)
    assert (request.method, request.url) == ("PUT", f"https://files.example.org/{finished.run.id}/junit.xml")
    assert request.body == (finished.folder / "junit.xml").read_bytes()
    posted = http(method="POST", url="https://files.example.org/in").request(parcel)
    assert posted.headers["Idempotency-Key"] == parcel.key
