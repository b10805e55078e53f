"""HTML that is escaped by construction: only `element` creates elements, and every other text is escaped."""

from html import escape

Attribute = str | float | None


class Html(str):
    """Markup. It is not escaped again."""

    __slots__ = ()


def element(tag: str, *children: str, **attributes: Attribute) -> Html:
    """Return `<tag attributes>children</tag>`. `class_` means `class`, and `_` means `-`. None omits an attribute."""
    given = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{_text(str(value))}"'
        for name, value in attributes.items()
        if value is not None
    )
    return Html(f"<{tag}{given}>{joined(*children)}</{tag}>")


def joined(*children: str) -> Html:
    """Join the children. Texts are escaped."""
    return Html("".join(child if isinstance(child, Html) else _text(child) for child in children))


def _text(value: str) -> str:
    # An answer may contain half a surrogate pair, which cannot be encoded as UTF-8. HTML does not allow NUL.
    return escape(value.encode("utf-8", "replace").decode("utf-8")).replace("\0", "\ufffd")
