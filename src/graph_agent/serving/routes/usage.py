"""`/usage`: how many tokens the caller has used, and for operators, who has used how many."""

import re
import time
from datetime import date
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from graph_agent.errors import InvalidRequest, OperatorsOnly
from graph_agent.identity.caller import Caller
from graph_agent.identity.owner import Owner
from graph_agent.protocol.wire_schemas import BOOLEAN, COUNT, STRING, array_of, closed, const
from graph_agent.runs.ledger import Ledger
from graph_agent.serving.identity import Identity
from graph_agent.serving.operations import OF_STORE, Parameter, described
from graph_agent.serving.routes.answers import json_answer, route
from graph_agent.serving.routes.queries import LONGEST_ID, check_query
from graph_agent.serving.routes.stored_responses import FAMILIES
from graph_agent.serving.store_gate import StoreGate
from graph_agent.settings import Settings
from graph_agent.stores.usage_records import UsageKey, UsageRow, day_of, days_before

TAG = "Usage"

DAYS = 30
"""How many days are shown without `since`, with today."""

MOST_ROWS = 1000

BY: tuple[UsageKey, ...] = ("user", "graph", "model")

FIGURES = ("calls", "input_tokens", "cached_tokens", "output_tokens", "reasoning_tokens", "lost_tokens", "total_tokens")

DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")

A_DAY = {"type": "string", "format": "date"}

QUERY = (
    Parameter("since", A_DAY, f"The first day (UTC). By default the last {DAYS} days are shown."),
    Parameter("until", A_DAY, "The last day (UTC). By default today."),
    Parameter("user", {"type": "string", "minLength": 1, "maxLength": LONGEST_ID}, "Only this user, for operators."),
)

USAGE = closed(
    "UsageOfTokens",
    {
        "object": const("usage"),
        "since": STRING,
        "until": STRING,
        "all_users": BOOLEAN,
        "data": array_of(closed("UsageRow", {**{name: STRING for name in BY}, **{name: COUNT for name in FIGURES}})),
        "has_more": BOOLEAN,
    },
    says="Tokens by user, graph and model, the most first.",
)


class UsageRoutes:
    """The table of usage."""

    def __init__(self, *, settings: Settings, identity: Identity, store: StoreGate, ledger: Ledger | None) -> None:
        self._operators = settings.operator_names
        self._identity = identity
        self._store = store
        self._ledger = ledger

    def routes(self) -> list[Route]:
        """The routes of the app."""
        return [route(f"{prefix}/usage", GET=self.read) for prefix in FAMILIES]

    @described(TAG, USAGE, says="The table.", parameters=QUERY, errors=(*OF_STORE, InvalidRequest, OperatorsOnly))
    async def read(self, request: Request) -> Response:
        """What the caller has used, or for an operator, what all users have used."""
        query = check_query(request, *QUERY)
        caller = await self._identity.caller(request.headers)
        since, until = _day(query.get("since"), "since"), _day(query.get("until"), "until")
        now = time.time()
        since, until = since or days_before(now, DAYS - 1), until or day_of(now)
        user = query.get("user")
        if user is not None and not (0 < len(user) <= LONGEST_ID):
            raise InvalidRequest(f"`user` must be a text of 1 to {LONGEST_ID} characters", param="user")
        is_operator = self._is_operator(caller)
        own = Owner.of(caller).key
        if not is_operator and user is not None and user not in (own, own.partition(":")[2]):
            raise OperatorsOnly(
                "`user` names somebody else, whose usage only operators see: leave it out, or let the operator name "
                "you in GRAPH_AGENT_OPERATORS",
                param="user",
            )
        owner = user if is_operator else own
        store = await self._store.passed()
        if self._ledger is not None:
            # The reader knows what it has just asked for.
            await self._ledger.write()
        rows = await store.usage.usage(since=since, until=until, owner=owner, by=BY, most=MOST_ROWS + 1)
        return json_answer(
            {
                "object": "usage",
                "since": since,
                "until": until,
                "all_users": is_operator,
                "data": [_body(row) for row in rows[:MOST_ROWS]],
                "has_more": len(rows) > MOST_ROWS,
            }
        )

    def _is_operator(self, caller: Caller) -> bool:
        names = {caller.user, Owner.of(caller).key.partition(":")[2], caller.email or ""}
        return not self._operators.isdisjoint(name.lower() for name in names)


def _body(row: UsageRow) -> dict[str, Any]:
    return {name: getattr(row, name) for name in (*BY, *FIGURES)}


def _day(text: str | None, param: str) -> str | None:
    if text is None:
        return None
    try:
        # Python reads other forms, too.
        if DAY.fullmatch(text):
            return date.fromisoformat(text).isoformat()
    except ValueError:
        pass
    raise InvalidRequest(f"`{param}` must be a day such as 2026-11-30", param=param)
