"""How a command ends: whatever it raises becomes a message and an exit code."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from kmodpipe.cli.invocation import Invocation
from kmodpipe.cli.options import Common
from kmodpipe.util import os_errors
from kmodpipe.util.errors import InfraError, KmodpipeError
from kmodpipe.util.os_errors import from_system
from kmodpipe.util.screen import Mode, Screen
from kmodpipe.util.text import spelled

Options = TypeVar("Options", bound=Common)


def guarded(body: Callable[[Options, Invocation], int], options: Options, call: Invocation) -> int:
    """Run a command; whatever it raises becomes a message and an exit code.

    An error that was not foreseen is a bug of ours: the message says so, and its traceback goes to a file.
    """
    screen = call.screen
    screen.program = call.program
    screen.document_only = getattr(options, "json", False)
    if options.quiet:
        screen.mode = Mode.QUIET
    if options.verbose:
        call.children.announce = screen.command
    try:
        with call.children.collecting(), call.signals.window():
            # The builder's user is not ours: what we write must be readable for it, whatever the caller's
            # umask.
            os.umask(0o022)
            return int(body(options, call))
    except KeyboardInterrupt as e:
        call.children.stop_all()
        # A run says how far it came, and where its results are.
        after, where = (*e.args, "", "")[:2]
        what = f"interrupted by {call.signals.cause} {after}".rstrip() + "; what was running is stopped"
        error = InfraError(what, where=where, hint="the same command goes on")
        return refuse(error, screen)
    except Exception as e:
        return refuse(_error_for(e, options), screen)
    finally:
        screen.close_log()


def refuse(error: KmodpipeError, screen: Screen, *, json: bool = False) -> int:
    """Show an error, also as the JSON document if one was requested and none came; return the exit code."""
    screen.document_only |= json
    error.hint = spelled(error.hint, screen.program)
    screen.error(error)
    if screen.document_only and not screen.documented:
        shown = {name: getattr(error, name) for name in ("what", "where", "detail", "hint")}
        with suppress(KmodpipeError):
            screen.document({"schema": "kmodpipe-error", "exit_code": int(error.exit_code), "error": shown})
    return int(error.exit_code)


def _error_for(error: Exception, options: Common) -> KmodpipeError:
    """Return the error to show a user for an exception."""
    if isinstance(error, KmodpipeError):
        return error
    if shortage := from_system(error):
        return shortage
    if isinstance(error, UnicodeEncodeError) and error.encoding.lower() != "utf-8":
        return InfraError(
            f"a name cannot be written in this locale's encoding, {error.encoding}: {error.object!r:.200}",
            hint="set LC_ALL=C.UTF-8, or PYTHONUTF8=1",
        )
    return (os_errors.explain(error, _places(options)) if isinstance(error, OSError) else None) or _defect(
        error
    )


def _places(options: Common) -> tuple[Path, ...]:
    """Return the folders that a command writes to, and may find full."""
    from kmodpipe.cache.place import cache_path

    return (
        cache_path() or Path.cwd(),
        Path(options.out).absolute(),
        Path(os.environ.get("TMPDIR", "/tmp")),
    )


def _defect(error: Exception) -> InfraError:
    """Return the error for an exception that was not foreseen, with its traceback in a file if possible."""
    import traceback
    from tempfile import NamedTemporaryFile

    lines = "".join(traceback.format_exception(error))
    what = f"a defect in kmodpipe: {type(error).__name__}: {error}"
    try:
        with NamedTemporaryFile(
            "w", encoding="utf-8", prefix="kmodpipe-", suffix=".traceback", delete=False
        ) as f:
            f.write(lines)
    except OSError:
        return InfraError(what, detail=lines, hint="please report it with these lines")
    return InfraError(what, where=f.name, hint="please report it with that file")
