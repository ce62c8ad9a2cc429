"""Write a reply to a series, as a kernel developer would send it to the mailing list. Pure.

Plain text of 72 columns; commands and tables are never wrapped. ``In-Reply-To`` is set only if the message id
of the series' first mail is known. ``Tested-by`` is offered only if everything is as expected; see `trailer`.
"""

from __future__ import annotations

from kmodpipe.report import answer, markup, rerun, summary, wording
from kmodpipe.report.compare import Comparison
from kmodpipe.report.markup import Block, Code, Command, Items, Paragraph, Title
from kmodpipe.results import (
    CHECKED,
    CONTROL,
    ENDED_EARLY,
    EffectKind,
    Run,
    State,
    effects,
    exit_code,
    of_tree,
    uncompared,
)
from kmodpipe.util.errors import ExitCode, UserError, unknown_name
from kmodpipe.util.text import one_line


def text(run: Run, variant: str = "", comparison: Comparison | None = None, tester: str = "") -> str:
    """Return the mail about one series of the run, headers included.

    *variant* may be empty if the run has only one series; *tester* is ``Name <address>``.
    Raise UserError if the series is unknown or not clear.
    """
    variant = _variant(run, variant)
    return f"{headers(run, variant)}\n{markup.mail(body(run, variant, comparison, tester))}"


def _variant(run: Run, variant: str) -> str:
    known = [v for v in dict.fromkeys(c.variant for c in run.cells) if v != CONTROL]
    if variant in known:
        return variant
    if variant:
        raise unknown_name("series", variant, known, where=f"run {run.id}")
    if not known:
        raise UserError(f"run {run.id} tested no series", hint="a mail is a reply to a series: run one first")
    if len(known) > 1:
        raise UserError(
            f"run {run.id} has several series: {', '.join(known)}", hint="name one: --series NAME"
        )
    return known[0]


def headers(run: Run, variant: str) -> str:
    """Return ``Subject``, and the headers that make the mail a reply if the message id is known."""
    known = run.properties
    subject = one_line(known.get(f"series.{variant}.subject", "")) or f"[PATCH] {one_line(variant)}"
    lines = [f"Subject: {subject if subject.lower().startswith('re:') else f'Re: {subject}'}"]
    if message := one_line(known.get(f"series.{variant}.message-id", "")):
        message = message if message.startswith("<") else f"<{message}>"
        lines += [f"In-Reply-To: {message}", f"References: {message}"]
    return "\n".join(lines) + "\n"


def body(run: Run, variant: str, comparison: Comparison | None, tester: str) -> list[Block]:
    """Return the body of the mail; with *comparison* also what changed since an earlier run."""
    verdicts = [v for v in wording.verdicts(run) if v.variant == variant]
    ran = wording.ran_cells(run, variant)
    made: list[Block] = [Paragraph(answer.of_run(run, variant).parts())]
    made += [_checked(run, variant, len(ran))] if CHECKED in run.properties else [
        Paragraph(
            (
                "I ran this series (", Code(variant), ") on ", Code(wording.tree(run)),
                f": {wording.count(len(ran), 'Kconfig cell')}, {wording.count(len(run.cases), 'case')}, "
                f"{_beside(run, variant, len(ran))}.",
            )
        ),
    ]  # fmt: skip
    if reason := run.properties.get(ENDED_EARLY, ""):
        made.append(Paragraph((f"The run is not whole: {one_line(reason)}.",)))
    made += summary.effect_tables(run, variant)
    made += [Paragraph(summary.verdict_text(verdict)) for verdict in verdicts]
    made += summary.compiler_warnings(run, variant)
    made += summary.not_judged(run)
    if bad := summary.failures(run, (variant,)):
        made += [Title(("Not as expected",)), *bad]
    if comparison:
        made += [
            Title(("Since the last time",)),
            *summary.of_comparison(comparison.only(variant), run, evidence=False),
        ]
    made += [Title(("To reproduce",)), Command(rerun.command(run, variant=variant)), *_facts(run, variant)]
    if offered := trailer(run, variant, tester):
        made.append(Paragraph((offered,)))
    return made


def _checked(run: Run, variant: str, patches: int) -> Block:
    """Return what was done, for a run of `check`."""
    counts = f"{wording.count(patches, 'patch', 'patches')}, {wording.count(len(run.cases), 'check')}"
    against = ", each against the source before it: "
    return Paragraph(
        ("I checked this series (", Code(variant), ") on ", Code(wording.tree(run)), f"{against}{counts}.")
    )


def _beside(run: Run, variant: str, ran: int) -> str:
    """Return what the cells of the series were compared with."""
    alone = len(uncompared(run).get(variant, ()))
    if not ran:
        return "none of which ran to its end"
    if not alone:
        return "each beside the unpatched tree"
    if alone == ran:
        return "without the unpatched tree beside them, so that nothing was compared"
    return f"{wording.count(alone, 'cell')} of them without the unpatched tree beside it, the others compared"


def _facts(run: Run, variant: str) -> list[Block]:
    """Return the facts that a reader needs to compare this run with a run of their own."""
    compilers = dict.fromkeys(c.properties.get("compiler", "") for c in run.cells)
    facts = [f"compiler: {name}" for name in compilers if name]
    if digest := run.properties.get(f"series.{variant}"):
        facts.append(f"SHA-256 over the patches: {digest[:16]}")
    if accel := run.properties.get("accel"):
        facts.append(f"guests: QEMU, {accel}")
    return [Items(tuple((Code(fact),) for fact in facts))] if facts else []


def trailer(run: Run, variant: str, tester: str) -> str:
    """Return the ``Tested-by`` line if it is deserved, else an empty string.

    It is if every cell ran or was skipped, all results are as expected, something is fixed, nothing is broken
    and no known issue shown, and the whole series was tested on the tree it is meant for, not on a fallback.
    """
    kinds = {e.kind for e in effects(run) if e.variant == variant}
    whole = all(c.state in (State.RAN, State.SKIPPED) for c in run.cells)
    well = (
        exit_code(run) is ExitCode.OK
        and whole
        and EffectKind.FIXED in kinds
        and not kinds
        & {EffectKind.REGRESSED, EffectKind.KNOWN_DEFECT, EffectKind.UNKNOWN, EffectKind.NOT_COMPARED}
        and "@" not in variant
        and not any(run.properties.get(of_tree("stand-in-for", kernel)) for kernel in wording.kernels(run))
    )
    return f"Tested-by: {one_line(tester) or 'Your Name <you@example.org>'}" if well else ""
