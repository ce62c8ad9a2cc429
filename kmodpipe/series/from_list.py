"""Fetch a series from a public-inbox archive such as lore.kernel.org by b4.

b4 (https://b4.docs.kernel.org) finds the newest version in the thread, and adds the trailers of replies. It
runs without the user's settings and cache, with the archive of the URL, else lore.kernel.org.
"""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path
from urllib.parse import urlsplit

from kmodpipe.util import process
from kmodpipe.util.errors import InfraError, UserError

_LIMIT_S = 300.0
_ID = re.compile(r"<?[^\s<>/@]+@[^\s<>/@]+>?")
_NO_ANSWER = re.compile(
    r"could not retrieve|connection|resolve|timed? ?out|unreachable|max retries|\b5\d\d\b", re.I
)
_SAYS = re.compile(r"(?:will use the latest revision|missing|error:|newer|reroll)[^\n]*", re.IGNORECASE)


def is_message(arg: str) -> bool:
    """Return whether ``--series`` names a mail of a list: by an http(s) URL, or by its Message-ID."""
    return _is_url(arg) or _ID.fullmatch(arg) is not None


def _is_url(arg: str) -> bool:
    return arg.lower().startswith(("http://", "https://"))


def fetch(arg: str, folder: Path) -> tuple[list[Path], tuple[str, ...]]:
    """Fetch a thread's newest series into ``folder``. Return its files, and what b4 says about it.

    Raise UserError if the thread has no patch, InfraError if b4 is missing or the archive cannot be reached.
    """
    given = arg.strip("<>")
    if _is_url(arg):
        parts = urlsplit(arg)
        if parts.fragment:
            raise UserError(
                "a series from git is read from a repository on this machine",
                where=arg,
                hint="clone or fetch it, and give its folder: ~/linux#base..topic",
            )
        if "@" not in parts.path or "@" in parts.netloc:
            raise UserError(
                "the URL names no mail of a list",
                where=arg,
                hint="such as https://lore.kernel.org/r/MESSAGE-ID, or a Message-ID alone",
            )
    (folder / "home").mkdir()
    own = {
        name: str(folder / "home") for name in ("HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME")
    }
    quiet = {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1", "GIT_TERMINAL_PROMPT": "0"}
    # No signature is checked: the keys of developers are not here, and DKIM takes the network.
    argv = [_program(), "-n", "--no-stdin", "-c", "b4.attestation-policy=off", "am", "--no-cache",
            "-o", str(folder / "out"), "-n", "series", given]  # fmt: skip
    done = process.run(argv, timeout_s=_LIMIT_S, cwd=folder, env={**own, **quiet}, check=False)
    made = sorted((folder / "out").glob("series*.mbx"))
    if not made:
        tail = done.tail.replace(str(folder), "…")
        if re.search(r"error: 4(?:04|10)\b", tail):
            raise UserError("the archive has no such mail", where=arg, detail=tail)
        if _NO_ANSWER.search(tail):
            raise InfraError(
                f"{urlsplit(given).hostname or 'lore.kernel.org'} did not give the thread",
                where=arg,
                detail=tail,
                hint="is it reachable from here? A mailbox saved elsewhere will do: --series thread.mbox",
            )
        raise UserError("b4 finds no series in this thread", where=arg, detail=tail)
    said = tuple(dict.fromkeys(f"b4: {line.strip()}" for line in _SAYS.findall(done.tail)))
    # The cover letter is in a file of its own.
    return [*sorted((folder / "out").glob("series*.cover")), made[0]], said


def _program() -> str:
    beside = Path(sys.executable).parent / "b4"
    found = str(beside) if beside.is_file() else shutil.which("b4")
    if not found:
        raise InfraError(
            "b4, which fetches series from lists, is not installed",
            hint="pip install 'kmodpipe[lore]', or your system's b4",
        )
    return found
