"""Whole, in order and of one version, or refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from kmodpipe.series.mail import Item
from kmodpipe.series.numbering import Order, select, tag_of
from kmodpipe.util.errors import UserError


@pytest.mark.parametrize(
    ("subject", "number", "count", "version", "bare"),
    [
        ("[PATCH 2/3] ovl: x", 2, 3, 1, "ovl: x"),
        ("[PATCH v2 02/13] ovl: x", 2, 13, 2, "ovl: x"),
        ("[PATCH 1/3 v2] ovl: x", 1, 3, 2, "ovl: x"),
        ("[PATCHv4 1/3] ovl: x", 1, 3, 4, "ovl: x"),
        ("[RFC,1/3] ovl: x", 1, 3, 1, "ovl: x"),
        ("[PATCH,v2,1/3] ovl: x", 1, 3, 2, "ovl: x"),
        ("[v3,1/3] ovl: x", 1, 3, 3, "ovl: x"),
        ("[1/3] ovl: x", 1, 3, 1, "ovl: x"),
        ("[linux-unionfs] [RFC PATCH RESEND v2 0/3] x", 0, 3, 2, "x"),
        ("[PATCH 5.10 1/2] ovl: x", 1, 2, 1, "ovl: x"),
        ("[PATCH] ovl: do 1/3 of it [2/3]", 0, 0, 1, "ovl: do 1/3 of it [2/3]"),
        ("ovl: 1/3 of the table", 0, 0, 1, "ovl: 1/3 of the table"),
        ("[PATCH] [2026/09/28] x", 0, 0, 1, "x"),
        ("", 0, 0, 1, ""),
    ],
)
def test_what_the_brackets_say(subject: str, number: int, count: int, version: int, bare: str) -> None:
    tag = tag_of(subject)
    assert (tag.number, tag.count, tag.version, tag.bare) == (number, count, version, bare)


def item(subject: str, name: str = "", diff: str = "diff", **more: str) -> Item:
    message_id = more.get("id", "")
    answers = tuple(more.get("refs", "").split())
    own = subject if name == "" else name
    return Item(
        own,
        Path(name or "x.mbox"),
        "x.mbox",
        subject,
        message_id,
        answers,
        (diff + subject * bool(diff)).encode(),
    )


def chosen(items: list[Item], order: Order = Order.MAILS) -> list[str]:
    return [one.name for one in select(items, order, "x").patches]


def refused(items: list[Item], order: Order = Order.MAILS) -> str:
    with pytest.raises(UserError) as e:
        select(items, order, "x")
    return str(e.value)


ONE, TWO, THREE = (f"[PATCH {n}/3] p{n}" for n in (1, 2, 3))


def test_mails_are_put_in_the_order_of_their_numbers() -> None:
    mails = [item(THREE), item("Re: " + ONE, diff=""), item(ONE), item("[PATCH 0/3] c", diff=""), item(TWO)]
    found = select(mails, Order.MAILS, "x")
    assert [one.name for one in found.patches] == [ONE, TWO, THREE]
    assert found.cover and found.cover.subject == "[PATCH 0/3] c"
    # Without numbers, in the order of the mails.
    assert chosen([item("[PATCH] b"), item("[PATCH] a")]) == ["[PATCH] b", "[PATCH] a"]


@pytest.mark.parametrize(
    ("subjects", "said"),
    [
        ((ONE, THREE), "patch 2 of 3 is missing"),
        ((TWO,), "patches 1 and 3 of 3 are missing"),
        (("[5/5] x",), "patches 1, 2, 3 and 4 of 5 are missing"),
        ((ONE, TWO, TWO, THREE), "patch 2 of 3 is there twice"),
        ((ONE, TWO, THREE, "[PATCH 1/2] other", "[PATCH 2/2] more"), "several series"),
        ((ONE, TWO, THREE, "[PATCH] other"), "some without a number: '[PATCH] other'"),
        ((ONE, TWO, "[PATCH 4/3] x"), "its subject counts to 4/3"),
        ((ONE, TWO, THREE, "[PATCH v2 1/1] unrelated"), "several series"),
        ((ONE, TWO, THREE, "[PATCH v2 2/3] p2"), "patches 1 and 3 of 3 are missing"),
    ],
)
def test_what_is_not_one_whole_series_is_refused(subjects: tuple[str, ...], said: str) -> None:
    assert said in refused([item(subject) for subject in subjects])


def test_a_lost_diff_is_no_empty_patch() -> None:
    assert "patch 2 of 3 carries no diff" in refused([item(ONE), item(TWO, diff=""), item(THREE)])
    assert "cover letter without its patches" in refused([item("[PATCH 0/3] c", diff="")])
    both = [item("[PATCH 0/2] a", diff=""), item("[PATCH 0/2] b", diff=""), item("[PATCH 1/2] x")]
    assert "2 cover letters" in refused(both)
    lone = [item("[PATCH 0/2] a", diff=""), item("[PATCH] x")]
    assert "counts 2 patches, and 1 are there" in refused(lone)


def test_the_newest_version_is_taken_and_it_says_so() -> None:
    old = [item("[PATCH 0/3] c", diff="")] + [item(s) for s in (ONE, TWO, THREE)]
    new = [item(f"[PATCH v2 {n}/2] p{n}") for n in (2, 1)]
    found = select([*new, *old], Order.MAILS, "x")
    assert [one.name for one in found.patches] == ["[PATCH v2 1/2] p1", "[PATCH v2 2/2] p2"]
    assert found.cover is None and found.notices == ("v1 and v2 are there: v2 is tested",)
    # Renamed, and in the thread of the first.
    first = [item("[PATCH 1/1] one", id="<1@x>")]
    second = [item("[PATCH v2 1/1] another", refs="<1@x>")]
    assert chosen([*first, *second]) == ["[PATCH v2 1/1] another"]
    resent = [item(f"[PATCH RESEND {n}/3] p{n}") for n in (1, 2, 3)]
    assert chosen([*resent, *old])[0] == "[PATCH RESEND 1/3] p1"
    assert chosen([item("[PATCH v2] a"), item("[PATCH] a")]) == ["[PATCH v2] a"]


def test_one_mail_that_came_twice_is_one() -> None:
    mails = [item(ONE, id="<1@x>"), item(TWO, id="<2@x>"), item(TWO, id="<2@x>"), item(THREE, id="<3@x>")]
    found = select(mails, Order.MAILS, "x")
    assert len(found.patches) == 3 and found.notices == ("the mail <2@x> is there twice",)


def test_the_diff_of_a_reply_is_taken_only_if_it_is_alone() -> None:
    reply = item("Re: [PATCH 2/3] p2")
    found = select([item("Re: a question")], Order.MAILS, "x")
    assert found.notices == ("the patch is from a reply: 'Re: a question'",)
    assert "2 replies with a diff" in refused([item("Re: a"), item("Re: b")])
    whole = select([item(ONE), item(TWO), item(THREE), reply], Order.MAILS, "x")
    assert len(whole.patches) == 3 and "diffs in replies" in whole.notices[0]


def test_files_go_by_their_numbers_unless_the_subjects_contradict() -> None:
    names = ("1-x", "10-x", "2-x")
    assert chosen([item("", n) for n in names], Order.NAMED) == ["1-x", "2-x", "10-x"]
    assert chosen([item(s, n) for s, n in zip((ONE, THREE, TWO), names, strict=True)], Order.NAMED) == [
        "1-x", "2-x", "10-x",
    ]  # fmt: skip
    text = refused([item(s, n) for s, n in zip((TWO, THREE, ONE), names, strict=True)], Order.NAMED)
    assert "contradicts their subjects: 1-x ('[PATCH 2/3] p2') comes before 2-x ('[PATCH 1/3] p1')" in text
    swapped = [item(s, n) for s, n in zip((ONE, TWO, THREE), names, strict=True)]
    assert "10-x ('[PATCH 2/3] p2')" in refused(swapped, Order.NAMED)
    # Names without numbers say nothing.
    assert chosen([item(s, n) for s, n in zip((TWO, THREE, ONE), "abc", strict=True)], Order.NAMED) == [
        "c",
        "a",
        "b",
    ]
    # Patches of our own behind a whole series.
    more = [*(item(s, f"000{n}-x") for n, s in enumerate((ONE, TWO, THREE), 1)), item("", "0004-x")]
    assert len(chosen(more, Order.NAMED)) == 4


def test_a_series_file_may_list_several_whole_series() -> None:
    listed = [
        item(ONE, "a"),
        item(TWO, "b"),
        item(THREE, "c"),
        item("mine", "d"),
        item("[PATCH v2 1/1] o", "e"),
    ]
    assert chosen(listed, Order.LISTED) == ["a", "b", "c", "d", "e"]
    assert "contradicts" in refused([listed[1], listed[0], listed[2]], Order.LISTED)
    assert "patch 2 of 3 is missing" in refused([listed[0], listed[2], listed[3]], Order.LISTED)
