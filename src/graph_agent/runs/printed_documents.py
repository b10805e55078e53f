"""Reads documents from the text that `VectorSearchRetrieverTool` returns: a list of them as Python prints it."""

import ast
from typing import Any

from langchain_core.documents import Document

MOST_TEXT = 200_000
"""The longest text that is read, in characters."""


def printed_documents(text: str) -> list[Document]:
    """The documents in that text, or none if it is anything else. Runs nothing of it."""
    if not text.startswith("[Document(") or len(text) > MOST_TEXT:
        return []
    try:
        tree = ast.parse(text, mode="eval").body
        return [_document(one) for one in tree.elts] if isinstance(tree, ast.List) else []
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError):
        return []


def _document(node: ast.expr) -> Document:
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Document"):
        raise ValueError
    fields: dict[str, Any] = {one.arg: ast.literal_eval(one.value) for one in node.keywords if one.arg is not None}
    return Document(**fields)
