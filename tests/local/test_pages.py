"""HTML pages: every text of them once, whatever element it stands in, and none of what is around it."""

import pytest
from tests.local.reading import chunks, text_of

WORDS = " ".join(f"word{number}" for number in range(300))


def page(body: str, title: str = "Manual") -> str:
    return f"<html><head><title>{title}</title></head><body>{body}</body></html>"


@pytest.mark.parametrize(
    "body",
    [
        "<table><tr><td>zebra</td></tr></table>",
        f"<table><tr><td><p>{WORDS}</p><p>zebra</p></td></tr></table>",
        f"<table><tr><td>Home</td><td>{WORDS} zebra</td></tr></table>",
        "<table role=presentation><tr><td>a<td>b<tr><td>zebra<td>c</table>",
        "<table><caption>zebra</caption><tr><td>1<td>2<tr><td>3<td>4</table>",
        "<table><tr><td><h2>zebra</h2><p>x<td>y</table>",
        "<table><tr><td><table><tr><td>zebra</table></table>",
        "<table>zebra<tr><td>a<td>b</table>",
        "<article>teaser</article><article>zebra</article>",
        "<main>first</main><main>zebra</main>",
        f"<article>teaser</article><div><p>{WORDS} zebra</p></div>",
        "<article><header><h1>zebra</h1></header><p>x</p></article>",
        "<header><h1>zebra</h1></header><p>x</p>",
        "<p>x</p><aside>zebra</aside>",
        "<form action=x><p>zebra</p><input></form>",
        "<article><p>x</p><footer>zebra</footer></article>",
        "<dl><dt>zebra<dd>an animal</dl>",
        "<details><summary>zebra</summary>x</details>",
        "<figure><img><figcaption>zebra</figcaption></figure>",
        "<fieldset><legend>zebra</legend></fieldset>",
        "<button>zebra</button>",
        "<my-card>zebra</my-card>",
        "<svg><text>zebra</text></svg>",
        "<address>zebra</address><hgroup><p>x</hgroup>",
        "<ul><p>zebra</p><li>x</ul>",
        "<ul><li><pre>zebra</pre></ul>",
        "<blockquote>zebra</blockquote><center>x</center>",
        "<noscript>zebra</noscript>",
        "<nav>zebra</nav>",
        "<footer>zebra</footer>",
        "<div>a<div>b<div>c</div></div>zebra</div>",
        "<p>a<br>zebra</p>",
        "zebra",
        "<h2>zebra</h2>",
        "<textarea>zebra</textarea>",
        "<ruby>zebra<rp>(</rp><rt>x</rt></ruby>",
        "<template>x</template><object>zebra</object>",
    ],
)
def test_text_is_found_whatever_element_it_stands_in(body: str) -> None:
    assert text_of("m.html", page(body)).count("zebra") == 1


@pytest.mark.parametrize("depth", [10, 300])
def test_nested_tables_hold_each_text_once(depth: int) -> None:
    body = "".join(f"<table><tr><td>outer{number} of this level</td><td>" for number in range(depth))
    text = text_of("m.html", page(f"{body}inmost"))
    assert all(text.count(f"outer{number} ") == 1 for number in range(depth))
    assert len(text) < 3 * len(body)


def test_nested_lists_stay_of_linear_size() -> None:
    body = "<ul><li>word " * 500
    assert len(text_of("m.html", page(body))) < 3 * len(body)


def test_a_table_of_data_keeps_its_rows_together() -> None:
    rows = "<tr><th>Port<th>Use<tr><td>8765<td>work|space<tr><td>8000<td>service"
    assert "| Port | Use |\n|---|---|\n| 8765 | work\\|space |\n| 8000 | service |" in text_of(
        "m.html", page(f"<table>{rows}</table>")
    )


def test_a_word_is_whole_whatever_parts_of_it_are_marked() -> None:
    body = "<p><b>Z</b>ebra gi<wbr>raffe <span>ele</span><i>phant</i> 漢<rt>かん</rt>字</p><p>one</p><p>two</p>"
    text = text_of("m.html", page(body))
    assert all(word in text for word in ("Zebra", "giraffe", "elephant", "漢字", "one\n\ntwo"))


def test_code_keeps_its_lines_and_lists_their_levels() -> None:
    body = "<pre>a\n  b</pre><ul><li>one<ul><li>inner</ul><li>two <p>more</ul>"
    text = text_of("m.html", page(body))
    assert "```\na\n  b\n```" in text
    assert "- one\n  - inner\n- two\n  more" in text


def test_a_heading_is_linked_by_its_id_by_a_name_in_it_or_by_its_section() -> None:
    body = "<h2 id=a>A</h2><p>x</p><h2><a name=b></a>B</h2><p>x</p><section id=c><h2>C</h2><p>x</p></section>"
    assert [chunk.doc_uri.partition("#")[2] for chunk in chunks("m.html", page(body))] == ["a", "b", "c"]


MENU = "<nav>" + "".join(f"<a href=/{number}>menu{number} of the site</a> " for number in range(60)) + "</nav>"
PARAGRAPHS = "".join(
    f"<p>Paragraph {number} says what a person wrote about the pump, {WORDS[:200]}.</p>" for number in range(12)
)
LINKS = "".join(f"<li><a href=/r{number}>related{number} story to read next</a>" for number in range(40))


def test_of_a_long_page_the_menus_are_left_out_and_the_text_is_kept() -> None:
    body = f"<div>{MENU}</div><div class=content><h1>Pumps</h1>{PARAGRAPHS}</div><div><ul>{LINKS}</ul></div>"
    text = text_of("m.html", page(f"{body}<footer>Imprint</footer>"))
    assert all(f"Paragraph {number} " in text for number in range(12))
    assert "menu7 " not in text
    assert "Imprint" not in text


@pytest.mark.parametrize(
    "body",
    [
        f"<form>{PARAGRAPHS}<p>A zebra in a form.</p></form>",
        f"<article>{PARAGRAPHS}</article><article><p>{WORDS}</p><p>A zebra in another. {WORDS}</p></article>",
        f"<article>short teaser</article><div>{PARAGRAPHS}<p>A zebra after the teaser.</p>{PARAGRAPHS}</div>",
        f"<table><tr><td>{MENU}</td><td>{PARAGRAPHS}<p>A zebra in a layout.</p>{PARAGRAPHS}</td></tr></table>",
        f"<div>{PARAGRAPHS}<table><tr><td>key<td>zebra<tr><td>a<td>b</table>{PARAGRAPHS}</div>",
        f"<div>{PARAGRAPHS}<ul><li>a zebra<li>b</ul>{PARAGRAPHS}</div>",
        f"<div>{PARAGRAPHS}<aside>Mind the zebra.</aside>{PARAGRAPHS}</div>",
        f"<div>{PARAGRAPHS}<details><summary>Mind the zebra?</summary>Yes.</details>{PARAGRAPHS}</div>",
        f"<div>{PARAGRAPHS}<pre>zebra --run</pre>{PARAGRAPHS}</div>",
    ],
)
def test_of_a_long_page_no_part_of_the_text_is_lost(body: str) -> None:
    text = text_of("m.html", page(body))
    assert text.count("zebra") == 1
    assert text.count("Paragraph 11 ") == body.count("Paragraph 11 ")


def test_a_page_keeps_its_text_where_the_extractor_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    import trafilatura

    def fail(*_: object, **__: object) -> None:
        raise RecursionError

    monkeypatch.setattr(trafilatura, "bare_extraction", fail)
    assert "Paragraph 11 " in text_of("m.html", page(PARAGRAPHS))
