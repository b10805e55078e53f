"""HTML that is escaped by construction: every text becomes text, and only elements made here become elements."""

from html import escape

Attribute = str | float | None


class Html(str):
    """Markup that is done."""

    __slots__ = ()


def element(tag: str, *children: str, **attributes: Attribute) -> Html:
    """`<tag attributes>children</tag>`; `class_` stands for `class`, `_` for `-`, and None leaves an attribute out."""
    given = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{_text(str(value))}"'
        for name, value in attributes.items()
        if value is not None
    )
    return Html(f"<{tag}{given}>{joined(*children)}</{tag}>")


def joined(*children: str) -> Html:
    """One after the other, texts escaped."""
    return Html("".join(child if isinstance(child, Html) else _text(child) for child in children))


def _text(value: str) -> str:
    # Half a surrogate pair cannot be written as UTF-8, and an answer may hold one.
    return escape(value.encode("utf-8", "replace").decode("utf-8")).replace("\0", "\ufffd")
