# ruff: noqa: RUF001
"""Words are found in languages that do not part them, or part them elsewhere, and in whatever form they are typed."""

import unicodedata
from pathlib import Path

import pytest

from graph_agent.local.index.compound_words import Vocabulary
from graph_agent.local.index.embedder import Embedder
from graph_agent.local.index.index import Index
from graph_agent.local.index.words import query_words

PASSAGES = {
    "leave": "有給休暇は年に二十日あります。",
    "overtime": "残業代は翌月の二十五日に支払われます。",
    "server": "サーバーの再起動は夜間に行ってください。",
    "password": "パスワードは九十日ごとに変更する必要があります。",
    "travel": "出張の交通費は領収書を添えて申請します。",
    "apple": "りんごは冷蔵庫に入れておく。",
    "tax": "消費税を含む価格を表示する。",
    "report": "请在每周五之前提交报告。",
    "pressure": "泵的压力不得超过十巴。",
    "thai": "ต้องตรวจสอบปั๊มทุกสัปดาห์และบันทึกผล",
    "thai2": "พนักงานลาพักร้อนได้ยี่สิบวันต่อปี",
    "korean": "연차휴가는 일 년에 이십 일입니다.",
    "korean2": "서버를 다시 시작하십시오.",
    "notice": "Die Kündigungsfrist beträgt drei Monate zum Quartalsende.",
    "machine": "Die Druckpumpe im Maschinenraum wird gewartet.",
    "review": "Die Prüfung der Unterlagen dauert zwei Wochen.",
    "dutch": "De verzekeringsmaatschappij betaalt binnen tien dagen.",
    "wide": "Ｗｉｄｅ letters and the ofﬁce with a ﬂoor.",
    "accents": "Cafe\u0301 cre\u0300me costs five.",
    "soft": "Das Wort Silben\u00adrätsel ist getrennt.",
    "parts": "تُعرَّف المُكوّنات داخل الملفّ، ولا تحتاج إلى شيء آخر.",
    "logo": "يظهر شعار الشركة في أعلى الفواتير.",
    "license": "يلزم ترخيصٌ لإنشاء الحساباتِ الجديدة وإلغاء القديمة.",
    "fuel": "يُسجَّل الوقود في سجلّ السيّارة كلّ مساء.",
    "emergency": "الرقم ٢٤٧ هو رقم الطوارئ.",
    "persian": "تنظیمات کاربران در صفحه نخست است.",
    "hebrew": "הַסֵּפֶר נִמְצָא בַּסִּפְרִיָּה.",
    "hindi": "दस्तावेज़ को सुरक्षित रखें और बदलाव देखें।",
    "hindi2": "कार्यालय सोमवार को बंद रहता है और दवा दी जाती है।",
    "tamil": "ஆவணங்களை சேமிக்கவும்.",
}


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Index:
    from graph_agent.evaluating.hashing_embedder import HashingEmbedder

    embedder: Embedder = HashingEmbedder()
    folder = tmp_path_factory.mktemp("passages")
    for name, text in PASSAGES.items():
        (folder / f"{name}.txt").write_text(text)
    opened = Index.open(folder.with_name("languages.db"), embedder)
    opened.sync([folder])
    return opened


def found(index: Index, query: str) -> list[str]:
    return [Path(hit.chunk.doc_uri).stem for hit in index.search(query, k=3, query_type="FULL_TEXT")]


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ("有給休暇は何日ありますか", "leave"),
        ("休暇", "leave"),
        ("残業代はいつ支払われますか？", "overtime"),
        ("サーバーを再起動するには", "server"),
        ("ｻｰﾊﾞｰ", "server"),
        ("パスワードの変更", "password"),
        ("交通費の申請方法を教えてください", "travel"),
        ("りんご", "apple"),
        ("税", "tax"),
        ("什么时候提交报告？", "report"),
        ("压力", "pressure"),
        ("ตรวจสอบปั๊ม", "thai"),
        ("ลาพักร้อนกี่วัน", "thai2"),
        ("휴가", "korean"),
        ("서버 시작", "korean2"),
        ("Welche Frist gilt?", "notice"),
        ("Kündigung", "notice"),
        ("Pumpe", "machine"),
        ("Maschinen, Raum", "machine"),
        ("Unterlagenprüfung", "review"),
        ("maatschappij", "dutch"),
        ("office", "wide"),
        ("wide floor", "wide"),
        ("café crème", "accents"),
        ("cafe", "accents"),
        ("Silbenrätsel", "soft"),
        ("مكون", "parts"),
        ("للمكونات", "parts"),
        ("مكونًا", "parts"),
        ("شركتك", "logo"),
        ("شـــعار شركات", "logo"),
        ("كيف أقوم بإنشاء حساب؟", "license"),
        ("الغاء", "license"),
        ("الإلغاء", "license"),
        ("والوقود", "fuel"),
        ("سيارات", "fuel"),
        ("247", "emergency"),
        ("كاربران", "persian"),
        ("הספר", "hebrew"),
        ("दस्तावेज़", "hindi"),
        ("सोमवार", "hindi2"),
        ("ஆவணங்களை", "tamil"),
    ],
)
def test_a_word_is_found_where_it_stands(index: Index, query: str, name: str) -> None:
    for form in ("NFC", "NFD"):
        assert found(index, unicodedata.normalize(form, query))[:1] == [name]


@pytest.mark.parametrize(
    "query", ["宇宙旅行", "ขนมปัง", "우주여행", "Raumfahrt und Sterne", "量子力学", "رحلة فضائية", "स्तुति"]
)
def test_a_word_that_stands_nowhere_scores_low(index: Index, query: str) -> None:
    assert index.search(query, query_type="FULL_TEXT", min_score=0.5) == []


def test_a_query_of_marks_alone_finds_nothing_and_fails_at_nothing(index: Index) -> None:
    for query in ("。", "ー", "？！", "は", "を", "\u0e31", "\u3099"):
        assert index.search(query, query_type="FULL_TEXT") == []


def test_an_arabic_word_is_one_word_whatever_is_attached_to_it() -> None:
    for written in (
        "كتاب الكتاب كتابه كتابها والكتاب بالكتاب للكتاب كتابًا كتـاب كِتاب",
        "شركة الشركة شركات شركتك شركتي شركتهم والشركات",
        "مشترك المشتركين مشتركون للمشتركين",
        "إلغاء الإلغاء الغاء بالإلغاء",
        "وقود الوقود بالوقود والوقود",
    ):
        assert len({word for form in written.split() for word in query_words(form)}) == 1, written


def test_question_words_of_arabic_ask_for_nothing() -> None:
    assert query_words("كيف أصل إلى المكتبة؟") == ["اصل", "مكتب"]


def test_question_words_of_german_ask_for_nothing_and_leave_english_words_alone() -> None:
    assert query_words("Wie kann ich meine Bestellung wieder stornieren?") == ["bestellung", "stornieren"]
    assert query_words("Why does the process die, and is it under the MIT license?")[:3] == ["process", "die", "under"]


def test_a_compound_is_known_by_its_parts_and_a_short_word_in_a_long_one_is_chance() -> None:
    words = Vocabulary.of(["kundigungsfrist", "report", "airport", "prufung", "unterlagen", "transport"])
    assert words.related("Frist", known=True) == ["kundigungsfrist"]
    assert words.related("Fristen", known=False) == ["kundigungsfrist"]
    assert words.related("Unterlagenprüfungen", known=False) == ["unterlagen", "prufung"]
    assert words.related("ports", known=True) == []
    assert words.related("unknown", known=False) == []
    assert words.related("graph_agent_port", known=False) == []


@pytest.mark.parametrize("query", ["bin", "man page", "dir", "DER"])
def test_a_word_that_is_a_name_of_something_is_searched_although_german_has_it_too(query: str) -> None:
    assert query_words(query) == query.lower().split()


def test_a_run_of_arabic_letters_that_is_no_word_stays_as_it_is() -> None:
    letters = "\u0627\u0644" * 5_000
    assert query_words(letters) == [letters]
