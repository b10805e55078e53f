"""PDF files: words are whole, forms are read, and a fault in one place costs that place alone."""

from io import BytesIO

import pypdf
import pytest
from pypdf.generic import ArrayObject, DictionaryObject, NameObject, NumberObject, TextStringObject
from tests.local.reading import chunks, damage, document, page_with, pdf, text_of, written

from graph_agent.local.documents.pdf_reader import page_list, whole_words
from graph_agent.local.documents.sections import UnreadableDocument


def test_a_pdf_gives_its_pages_under_its_title() -> None:
    assert [(chunk.doc_uri, chunk.text) for chunk in chunks("h.pdf", pdf("Holidays are thirty days", "Ask us"))] == [
        ("docs/h.pdf#page=1", "Handbook > page 1\n\nHolidays are thirty days"),
        ("docs/h.pdf#page=2", "Handbook > page 2\n\nAsk us"),
    ]


@pytest.mark.parametrize(
    ("text", "whole"),
    [
        ("infor-\nmation", "information\n"),
        ("Kündi-\ngungsfrist", "Kündigungsfrist\n"),
        ("Silben\u00ad\ntrennung", "Silbentrennung\n"),
        ("a well-\nknown fact, well-known", "a well-known\n fact, well-known"),
        ("an e-mail, re-\nentry and reentry", "an e-mail, reentry\n and reentry"),
        ("the years 2020-\n2021", "the years 2020-2021\n"),
        ("from A-\nZ", "from A-\nZ"),
        ("North-\nSouth", "North-South\n"),
        ("a list -\nof things", "a list -\nof things"),
    ],
)
def test_a_word_that_a_line_end_cut_is_whole(text: str, whole: str) -> None:
    assert whole_words(text) == whole


def test_ligatures_are_letters() -> None:
    writer = pypdf.PdfWriter()
    page = page_with(writer, [b"\x01nal con\x02guration e\x03cient"])
    font = page["/Resources"]["/Font"]["/F1"].get_object()  # type: ignore[index]
    differences = [NumberObject(1), NameObject("/fi"), NameObject("/fi"), NameObject("/ffi")]
    font[NameObject("/Encoding")] = DictionaryObject({NameObject("/Differences"): ArrayObject(differences)})
    assert "final configuration efficient" in text_of("a.pdf", written(writer))


def field(**entries: object) -> DictionaryObject:
    values = {"/Type": NameObject("/Annot"), "/Subtype": NameObject("/Widget")}
    return DictionaryObject({NameObject(name): value for name, value in {**values, **entries}.items()})


def form(*fields: DictionaryObject) -> bytes:
    writer = pypdf.PdfWriter()
    page = page_with(writer, [b"Application"])
    # By reference, as most programs write them.
    page[NameObject("/Annots")] = writer._add_object(ArrayObject([writer._add_object(one) for one in fields]))
    return written(writer)


def test_what_was_filled_into_a_form_is_read() -> None:
    parent = DictionaryObject(
        {NameObject("/T"): TextStringObject("Animal"), NameObject("/V"): TextStringObject("giraffe")}
    )
    note = field(**{"/Subtype": NameObject("/FreeText"), "/Contents": TextStringObject("a note about lions")})
    data = form(
        field(**{"/T": TextStringObject("Name"), "/V": TextStringObject("Zebra Müller")}),
        field(**{"/Parent": parent}),
        field(**{"/TU": TextStringObject("Agreed"), "/V": NameObject("/Yes")}),
        field(**{"/T": TextStringObject("No"), "/V": NameObject("/Off")}),
        field(
            **{"/T": TextStringObject("Days"), "/V": ArrayObject([TextStringObject("Mon"), TextStringObject("Tue")])}
        ),
        note,
    )
    assert text_of("a.pdf", data) == (
        "a > page 1\n\nApplication\n\n- Name: Zebra Müller\n- Animal: giraffe\n- Agreed: Yes\n- Days: Mon, Tue\n"
        "- a note about lions"
    )


def test_a_form_whose_parts_are_their_own_parents_is_read() -> None:
    writer = pypdf.PdfWriter()
    page = page_with(writer, [b"zebra"])
    one = field()
    reference = writer._add_object(one)
    one[NameObject("/Parent")] = reference
    page[NameObject("/Annots")] = ArrayObject([reference])
    assert "zebra" in text_of("a.pdf", written(writer))


@pytest.mark.parametrize("title", [NumberObject(5), ArrayObject([]), DictionaryObject(), NameObject("/Odd")])
def test_a_broken_title_costs_the_title_alone(title: object) -> None:
    writer = pypdf.PdfWriter()
    page_with(writer, [b"zebra"])
    writer.add_metadata({"/Title": "x"})
    assert writer._info is not None
    writer._info[NameObject("/Title")] = title
    assert "zebra" in text_of("a.pdf", written(writer))


def test_a_broken_page_costs_that_page_alone() -> None:
    writer = pypdf.PdfWriter()
    for line in (b"lion", b"tiger", b"zebra"):
        page_with(writer, [line])
    writer.pages[1][NameObject("/Contents")] = NumberObject(7)
    text = text_of("a.pdf", written(writer))
    assert "lion" in text
    assert "zebra" in text


def test_pages_that_give_nothing_are_noted() -> None:
    writer = pypdf.PdfWriter()
    for at in range(9):
        page_with(writer, [b"zebra"] if at else [])
    for at in (2, 3, 6):
        damage(writer, writer.pages[at])
    note = "damaged and not fully read: pages 3-4, 7; without text (blank, scanned or damaged): page 1"
    assert document("a.pdf", written(writer)).note == note
    assert document("a.pdf", pdf("lion", "zebra")).note == ""


def test_a_page_is_noted_where_its_text_is_lost_and_its_form_is_not() -> None:
    writer = pypdf.PdfWriter()
    page = page_with(writer, [b"Application"])
    page[NameObject("/Annots")] = ArrayObject(
        [field(**{"/T": TextStringObject("Name"), "/V": TextStringObject("Ann")})]
    )
    damage(writer, page)
    found = document("a.pdf", written(writer))
    assert [chunk.text for chunk in found.chunks] == ["a > page 1\n\n- Name: Ann"]
    assert found.note == "damaged and not fully read: page 1"


def test_a_note_on_many_pages_stays_short() -> None:
    assert page_list([3]) == "page 3"
    assert page_list(range(1, 1000)) == "pages 1-999"
    assert page_list(range(1, 1000, 2)) == "pages 1, 3, 5, 7, 9, 11, 13, 15, 17, 19 and 490 more ranges"


def test_a_pdf_that_needs_a_password_says_so() -> None:
    writer = pypdf.PdfWriter(clone_from=pypdf.PdfReader(BytesIO(pdf("secret"))))
    writer.encrypt("open sesame", algorithm="RC4-128")
    with pytest.raises(UnreadableDocument, match="password"):
        text_of("a.pdf", written(writer))
