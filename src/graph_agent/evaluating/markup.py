"""HTML that is escaped by construction: only `element` makes elements, and every other text stays text."""

from html import escape

Attribute = str | float | None


class Html(str):
    """Finished markup. It is not escaped again."""

    __slots__ = ()


def element(tag: str, *children: str, **attributes: Attribute) -> Html:
    """`<tag attributes>children</tag>`. `class_` stands for `class`, `_` for `-`. None leaves an attribute out."""
    given = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{_text(str(value))}"'
        for name, value in attributes.items()
        if value is not None
    )
    return Html(f"<{tag}{given}>{joined(*children)}</{tag}>")


def joined(*children: str) -> Html:
    """The children one after the other. Texts are escaped."""
    return Html("".join(child if isinstance(child, Html) else _text(child) for child in children))


def _text(value: str) -> str:
    # An answer may hold half a surrogate pair, which cannot be written as UTF-8.
    return escape(value.encode("utf-8", "replace").decode("utf-8")).replace("\0", "\ufffd")
