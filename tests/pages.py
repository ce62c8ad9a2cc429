"""Run a page of docs/: python -m tests.pages docs/tutorials/first-module.md [--write] [--in FOLDER].

It prints what is not as the page says. With ``--write`` the page gets what was printed instead, to be read
and cut by hand. The commands run in a new folder, or in the one that is named, with this machine's Docker,
QEMU and cache.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

from tests.support import pages


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("page", type=Path)
    parser.add_argument("--write", action="store_true", help="write what is printed into the page")
    parser.add_argument("--in", dest="folder", type=Path, help="run in this folder, and keep it")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="kmodpipe-page-") as made:
        folder = given.folder or Path(made)
        folder.mkdir(parents=True, exist_ok=True)
        shown = pages.run(given.page, folder, dict(os.environ), 7200)
    found = pages.problems(shown)
    if given.write:
        given.page.write_text(pages.rewritten(given.page.read_text("utf-8"), shown), "utf-8")
    print("\n\n".join(found) or f"{given.page}: as it says, {len(shown)} blocks of commands")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
