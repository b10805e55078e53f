# ruff: noqa: RUF001
"""Text in whatever encoding it was saved: read right, or refused, and never indexed as noise."""

import codecs

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.local.reading import text_of

from graph_agent.local.documents.sections import UnreadableDocument
from graph_agent.local.documents.text_decoding import clean_text, decode_html, decode_text

SENTENCES = {
    "French": "Le café « déjà vu » coûte 5 € — l’été où naïve Noël arrive à Orléans.",
    "German": "Größe und Übung müssen für Gäste schön sein.",
    "Spanish": "¿Cuántos años tiene el señor Muñoz? ¡Mañana!",
    "Polish": "Zażółć gęślą jaźń, proszę państwa, w Łodzi jest źle.",
    "Czech": "Příliš žluťoučký kůň úpěl ďábelské ódy.",
    "Russian": "Быстрая лиса прыгает через ленивую собаку. Инструкция по эксплуатации насоса.",
    "Turkish": "Şoför güneşli İstanbul'da çiçeği aldı, öğle yemeği yedi.",
    "Greek": "Η αντλία πρέπει να ελέγχεται κάθε εβδομάδα.",
    "Hebrew": "המשאבה נבדקת כל שבוע.",
    "Arabic": "يجب فحص المضخة كل أسبوع.",
    "Thai": "ต้องตรวจสอบปั๊มทุกสัปดาห์",
    "Japanese": "有給休暇は年に二十日あります。申請は一週間前までに行ってください。",
    "Chinese": "请在每周五之前提交报告。泵的压力不得超过十巴。",
    "Taiwanese": "請在每週五之前提交報告。泵的壓力不得超過十巴。",
    "Korean": "연차 휴가는 일 년에 이십 일입니다. 신청은 일주일 전까지 하십시오.",
}
LEGACY = [
    ("French", "cp1252"),
    ("German", "cp1252"),
    ("Spanish", "cp1252"),
    ("Polish", "cp1250"),
    ("Polish", "iso8859-2"),
    ("Czech", "cp1250"),
    ("Russian", "cp1251"),
    ("Russian", "koi8-r"),
    ("Turkish", "cp1254"),
    ("Greek", "cp1253"),
    ("Hebrew", "cp1255"),
    ("Arabic", "cp1256"),
    ("Thai", "cp874"),
    ("Japanese", "cp932"),
    ("Japanese", "euc-jp"),
    ("Chinese", "gb2312"),
    ("Taiwanese", "big5"),
    ("Korean", "euc-kr"),
]


@pytest.mark.parametrize(("language", "encoding"), LEGACY)
def test_an_encoding_that_nobody_names_is_told_by_its_text(language: str, encoding: str) -> None:
    for text in (SENTENCES[language], SENTENCES[language] * 20):
        assert decode_text(text.encode(encoding)) == text


@pytest.mark.parametrize(("language", "encoding"), LEGACY)
@pytest.mark.parametrize(
    "page",
    ['<meta charset="{}"><p>', "<meta content='text/html; charset={}'><p>", '<?xml version="1.0" encoding="{}"?>'],
)
def test_a_declared_encoding_is_read_as_declared(language: str, encoding: str, page: str) -> None:
    head = page.format(encoding).encode()
    assert decode_html(head + SENTENCES[language].encode(encoding)).endswith(SENTENCES[language])


@pytest.mark.parametrize("declared", ["utf-8", "utf-16", "klingon", "base64", "rot13", "utf-7", ""])
def test_a_declaration_that_cannot_be_true_is_no_obstacle(declared: str) -> None:
    head = f'<meta charset="{declared}"><p>'.encode()
    for encoding in ("cp1252", "utf-8"):
        assert decode_html(head + SENTENCES["German"].encode(encoding)).endswith(SENTENCES["German"])


@pytest.mark.parametrize("language", SENTENCES)
@pytest.mark.parametrize(
    "encoding", ["utf-8-sig", "utf-16", "utf-32", "utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"]
)
def test_every_form_of_unicode_is_read_with_its_mark_and_without(language: str, encoding: str) -> None:
    assert decode_text(SENTENCES[language].encode(encoding)) == SENTENCES[language]


@pytest.mark.parametrize("mark", [codecs.BOM_UTF16_BE, codecs.BOM_UTF32_BE])
def test_a_mark_says_which_byte_comes_first(mark: bytes) -> None:
    encoding = "utf-16-be" if len(mark) == 2 else "utf-32-be"
    assert decode_text(mark + "zebra".encode(encoding)) == "zebra"


@pytest.mark.parametrize(
    "data",
    [
        "Grüße aus München und Köln".encode() + b"\xff",
        "日本語のテキストです".encode()[:-1],
        b"plain English \x81 with one stray byte in a text that is long enough to tell, as texts are",
        "Grüße".encode("utf-16") + b"\x00",
        b'<meta charset="shift_jis"><p>' + SENTENCES["Japanese"].encode("cp932") + b"\x81",
    ],
)
def test_one_bad_byte_costs_one_character(data: bytes) -> None:
    text = decode_html(data)
    assert text.count("\ufffd") <= 1
    assert len(text) > 4


@pytest.mark.parametrize("text", ["déjà", "café", "Übergröße", "naïve “quotes”", "5 €"])
def test_a_few_letters_are_taken_for_western(text: str) -> None:
    assert decode_text(text.encode("cp1252")) == text


@pytest.mark.parametrize(
    "data",
    [bytes(range(256)) * 4, b"\x81\x8d", b"\x00" * 100, b"a\x00\x00\x00\x00b", b"\x89PNG\r\n\x1a\n" + b"\x00\x01" * 50],
)
def test_what_is_no_text_is_refused(data: bytes) -> None:
    with pytest.raises(UnreadableDocument, match=r"it contains binary data, not text|its text encoding is unknown"):
        decode_text(data)


def test_text_is_composed_and_has_no_hidden_hyphens() -> None:
    assert decode_text("Cafe\u0301 Silben\u00adtrennung \ufeff".encode()) == "Caf\u00e9 Silbentrennung "


@given(st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cn", "Co", "Cs")), min_size=30))
def test_utf_8_is_never_taken_for_anything_else(text: str) -> None:
    assert decode_text(f"a {text}".encode()) == clean_text(f"a {text}")


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        text = decode_text(data)
    except UnreadableDocument:
        return
    assert text.encode().decode() == text


def test_a_text_file_is_read_in_utf_8_in_utf_16_and_in_windows_1252() -> None:
    assert [text_of("n.txt", "Grüße".encode(name)) for name in ("utf-8-sig", "utf-16", "cp1252")] == ["n\n\nGrüße"] * 3
