"""Pages of lists in SQL."""

from collections.abc import Sequence
from typing import Any

from graph_agent.identity.owner import Owner
from graph_agent.stores.database import Connection
from graph_agent.stores.records import Page
from graph_agent.stores.sql_rows import Row


class Order:
    """The order and the beginning of a page, by a column of time and then by id."""

    def __init__(self, table: str, column: str, page: Page, prefix: str = "") -> None:
        direction, beyond = ("DESC", "<") if page.order == "desc" else ("ASC", ">")
        self._after = page.after
        self.condition = (
            f"AND ({prefix}{column}, {prefix}id) {beyond} (SELECT {column}, id FROM {table} WHERE owner = ? AND id = ?)"
            if page.after is not None
            else ""
        )
        self.clause = f"ORDER BY {prefix}{column} {direction}, {prefix}id {direction} LIMIT ?"

    def parameters(self, owner: Owner) -> tuple[Any, ...]:
        """The parameters of `condition`."""
        return () if self._after is None else (owner.key, self._after)


async def rows_of_page(
    connection: Connection,
    owner: Owner,
    page: Page,
    *,
    columns: str,
    table: str,
    column: str,
    condition: str = "",
    parameters: Sequence[Any] = (),
) -> list[Row]:
    """The rows of a page of what an owner has in a table. One row more than its limit says that there are more.

    `condition` leaves out some of them: SQL that begins with `AND`, with its parameters.
    """
    order = Order(table, column, page)
    return await connection.rows(
        f"SELECT {columns} FROM {table} WHERE owner = ? {condition} {order.condition} {order.clause}",
        (owner.key, *parameters, *order.parameters(owner), page.limit + 1),
    )
