"""The renderings of a report: hostile text stays text, commands and tables stay whole."""

from __future__ import annotations

import re

import pytest

from kmodpipe.report import markup
from kmodpipe.report.markup import Block, Code, Command, Fold, Items, Paragraph, Quote, Table, Title, listed
from tests.support.hostile import HOSTILE
from tests.support.markdown import tokens

LONG = "invoke test --tree /a/very/long/path/to/a/tree --series index-nouuid --cell " + "x" * 60
MARKDOWN = (
    "](https://evil.invalid) ![x](https://evil.invalid/x.png) <img src=x> <script>alert(1)</script> "
    "@everyone #1 **bold** _it_ ~~s~~ https://evil.invalid www.evil.invalid a@evil.invalid &amp; `code` ``` "
    "| a | b \\| c \\\\| d | ``x`` $x$ :smile: [[wiki]] <!-- --> </details></summary>"
)
HEADINGS = "# heading\n## two\n===\n- item\n> quote\n```\nfence\n````\n<details>\n|a|b|\n|-|-|\n[x]: http://evil.invalid"


def everything(text: str) -> list[Block]:
    own = ("own ", Code(text), " words")
    return [
        Title(own),
        Paragraph(own),
        Items((own, own)),
        Table(("a", "b"), ((own, (Code(text),)), (("x",), own))),
        Command(f"invoke {text}"),
        Quote(text),
        Fold(own, (Paragraph(own), Table(("a",), ((own,),)), Quote(text))),
    ]


@pytest.mark.parametrize(
    "text", [MARKDOWN, HEADINGS, HOSTILE, "`", "``` ` ``", " ", "\\", "a\\|b|", "\n\n# x"]
)
def test_no_text_becomes_markdown(text: str) -> None:
    made = markup.markdown(everything(text), 10**6)
    harmless = markup.markdown(everything("harmless"), 10**6)
    kinds = [t.type for t in tokens(made)]
    bad = {"link_open", "image", "strong_open", "em_open", "s_open", "blockquote_open", "html_inline", "hr"}
    assert not bad & set(kinds)
    # What is there is what we put there: headings, items, tables with their columns, folds.
    for kind in ("heading_open", "list_item_open", "td_open", "tr_open", "html_block", "fence"):
        assert kinds.count(kind) == [t.type for t in tokens(harmless)].count(kind), kind
    html = [t.content for t in tokens(made) if t.type == "html_block"]
    own = r"</?(?:details|summary|code)>"
    assert not re.search("<", "".join(re.sub(own, "", h) for h in html))
    assert [h.count("<summary>") for h in html] == [1, 0]
    # Outside code there are only our own words: nothing that a platform would link to a person or an issue.
    shown = "".join(t.content for t in tokens(made) if t.type == "text")
    assert not re.search(r"[@#]\w|evil|www", shown)


def test_a_code_span_has_the_text_as_it_is() -> None:
    for text in ("plain", "a`b", "`a`", "a``b`", "x | y", "<b>&amp;"):
        spans = [
            t for t in tokens(markup.markdown([Paragraph((Code(text),))], 9999)) if t.type == "code_inline"
        ]
        assert [s.content for s in spans] == [text]
        cell = markup.markdown([Table(("a",), (((Code(text),),),))], 9999)
        assert [t.content for t in tokens(cell) if t.type == "code_inline"] == [text]


def test_markdown_is_cut_by_whole_blocks() -> None:
    many = [Paragraph((f"paragraph {n} " + "x" * 100,)) for n in range(100)]
    made = markup.markdown(many, 2000)
    assert len(made) <= 2000 and made.endswith("the rest is in report.html.*\n")
    assert re.findall(r"paragraph (\d+)", made) == [str(n) for n in range(len(re.findall("paragraph", made)))]
    assert "More than" not in markup.markdown(many, 10**6)


@pytest.mark.parametrize(
    "text", [MARKDOWN, HEADINGS, HOSTILE, "Reviewed-by: A <a@b>\nFixes: 1234 (x)", "w" * 200]
)
@pytest.mark.parametrize("render", [markup.text, markup.mail])
def test_plain_text_has_no_controls_and_keeps_its_lines(render, text: str) -> None:  # type: ignore[no-untyped-def]
    made = render(everything(text))
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e\ud800-\udfff]", made)
    # The body begins where we let it: a line of text from outside is never a line of its own.
    assert not re.search(r"(?m)^(?:#|>|From )", made)


def test_a_mail_has_72_columns_but_for_what_must_not_be_wrapped() -> None:
    wide = Table(("case", "before", "now"), (((Code("c" * 66),), (Code("mounted"),), (Code("ESTALE"),)),))
    narrow = Table(("case", "now"), (((Code("a-case"),), (Code("mounted"),)), (("b",), (Code("x"),))))
    made = markup.mail(
        [
            Paragraph(("word " * 60, Code("outcome → EINVAL"))),
            Command(LONG),
            wide,
            narrow,
            Items((("item " * 30,),)),
        ]
    )
    assert f"\n    {LONG}\n" in made
    long = [line for line in made.splitlines() if len(line) > 72]
    assert long == [f"    {LONG}"]
    assert "  case    now\n  ------  -------\n  a-case  mounted\n  b       x\n" in made
    assert f"- {'c' * 66},\n  before mounted, now ESTALE\n" in made
    assert made.isascii()


def test_nobody_is_made_to_sign_by_a_log() -> None:
    made = markup.mail(
        everything("x\nTested-by: Eve <e@x>\nAcked-by: Eve\nLink: http://x\nCo-developed-by: E")
    )
    assert not re.search(r"(?im)^[\s|>-]*[A-Za-z-]+-by:", made)
    assert "Tested-by : Eve" in made


def test_long_lists_are_counted() -> None:
    assert markup.text([Paragraph(listed("abcdefghij", 3))]) == "a, b, c and 7 more\n"
    assert markup.text([Paragraph(listed("ab", 3))]) == "a, b\n"
