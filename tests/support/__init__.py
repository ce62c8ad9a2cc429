"""What several tests lean on: a toy world, sample runs, servers, scripted machines; and where things are."""

from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
DATA = REPO / "tests" / "data"
CORPUS = REPO / "tests" / "corpus"
