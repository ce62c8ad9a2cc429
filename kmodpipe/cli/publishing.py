"""`invoke publish`."""

from __future__ import annotations

from pathlib import Path

from kmodpipe.cli.invocation import Invocation, receivers_of
from kmodpipe.cli.options import PublishOptions
from kmodpipe.publish.publisher import Publisher
from kmodpipe.util.errors import UserError


def publish(options: PublishOptions, call: Invocation) -> int:
    """Send, send again or list, as the options ask for. Raise UserError for options that contradict."""
    publisher = publisher_of(call)
    if options.pending == bool(options.to):
        known = ", ".join(publisher.receivers) or "none, see docs/publish.md"
        raise UserError("publish takes --to NAME or --pending", hint=f"receivers that are declared: {known}")
    if options.pending:
        return publisher.waiting() if options.dry_run else publisher.pending(again=options.again)
    run = Path(options.run) if options.run else Path(options.out) / "latest"
    if options.dry_run:
        return publisher.dry_run(options.to, run)
    return publisher.publish(options.to, run, again=options.again)


def publisher_of(call: Invocation) -> Publisher:
    """Return the publisher of a project's declared receivers."""
    project = call.project()
    return Publisher(receivers_of(project), project.root, call.screen)
