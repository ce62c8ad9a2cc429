"""Receivers that are declared, runs and parcels for them, and `invoke publish`."""

from __future__ import annotations

from pathlib import Path

from kmodpipe import results
from kmodpipe.publish import receivers, run_data
from kmodpipe.publish.payload import Parcel, Part
from kmodpipe.publish.receivers.base import Receiver
from kmodpipe.publish.run_data import RunData
from tests.support import sample_run

TOKEN = "t0ken-that-nobody-may-see"
HERE = Path("pyproject.toml")


def receiver(**table: object) -> Receiver:
    return receivers.parse({"one": table}, HERE)["one"]


def http(**more: object) -> Receiver:
    return receiver(**{"kind": "http", "url": "https://files.example.org/{run}/junit.xml", **more})


def squad_receiver(**more: object) -> Receiver:
    return receiver(
        **{
            "kind": "squad", "url": "https://squad.example.org", "group": "kernel", "project": "overlayfs",
            "token-env": "SQUAD_TOKEN", **more,
        }
    )  # fmt: skip


def on_disk(run: results.Run, out: Path) -> RunData:
    return run_data.load(sample_run.on_disk(run, out))


def parcel(about: str = "a", data: bytes = b"x") -> Parcel:
    return Parcel("one", "http", "run", about, (Part("body", data),), {"run": "run"})
