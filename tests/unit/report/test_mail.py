"""The mail about a run that one could send."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kmodpipe import results
from kmodpipe.report import mail
from kmodpipe.results import CaseResult, Run, State, Verdict
from tests.support.sample_days import KNOWN, Y_Y, bad, good
from tests.support.sample_run import INFOS, cell, change, seen

MAIL = """\
Subject: Re: [PATCH v2 0/6] ovl: index=nouuid
In-Reply-To: <20200924.1@example.org>
References: <20200924.1@example.org>

index-nouuid fixes 2, breaks 0, on Linux 5.10.223.

I ran this series (index-nouuid) on Linux 5.10.223 (linux): 3 Kconfig
cells, 4 cases, each beside the unpatched tree.

FIXED:

  case                       unpatched  patched  cells
  -------------------------  ---------  -------  -----
  uuid-remount-index-nouuid  EINVAL     mounted  3
  uuid-remount-default       ESTALE     mounted  1

index-nouuid breaks nothing; fixes 2 cases (uuid-remount-index-nouuid,
uuid-remount-default (1 of 3 cells)); leaves 2 cases failing as without
it; leaves 2 cases working; cannot be compared in 1 case.

To reproduce:

    invoke test --tree ~/linux --series index-nouuid

- SHA-256 over the patches: 72694c37212960c5
- guests: QEMU, tcg

Tested-by: T Ester <t@example.org>
"""


def test_a_mail_as_it_would_be_sent() -> None:
    assert mail.text(good(), tester="T Ester <t@example.org>") == MAIL


@pytest.mark.parametrize(
    "run",
    [
        bad(),
        change(good(), Y_Y, replace(seen(3, "hardlinks-split"), known_defect=True)),
        change(good(), Y_Y, CaseResult(INFOS[0].id, Verdict.ERROR, "not run")),
        change(good(), Y_Y, seen(3, "EIO")),  # a regression that somebody expected
        results.with_cell(good(), cell("index-nouuid", "y", "y", state=State.INFRA)),
        replace(good(), properties={**KNOWN, "tree.stand-in-for": "the tree that was meant"}),
        results.planned(replace(good(), cells=tuple(c for c in good().cells if c.variant != "unpatched"))),
    ],
)
def test_nobody_vouches_for_what_is_not_well(run: Run) -> None:
    assert "Tested-by" not in mail.text(run)


def test_a_mail_without_known_headers_is_no_reply_to_anything() -> None:
    run = replace(good(), properties={})
    assert mail.headers(run, "index-nouuid") == "Subject: Re: [PATCH] index-nouuid\n"
    hostile = {"series.index-nouuid.subject": "x\nBcc: evil@x", "series.index-nouuid.message-id": "a\nB: c"}
    lines = mail.headers(replace(run, properties=hostile), "index-nouuid").splitlines()
    assert [line.split(":")[0] for line in lines] == ["Subject", "In-Reply-To", "References"]
