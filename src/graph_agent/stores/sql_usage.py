"""The statements behind `UsageStore`, for SQLite and PostgreSQL.

Whoever changes anything locks one row first. So batches of all processes come one after another, and what is left is
compared and reserved in one step. Batches are few: each process has one at a time, with everything that came meanwhile.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, get_args

from graph_agent.identity.caller import Kind
from graph_agent.identity.owner import Owner
from graph_agent.settings import Limits
from graph_agent.stores.database import Connection, Database
from graph_agent.stores.usage_records import (
    DAY_SECONDS,
    FORGOTTEN,
    MINUTE_SECONDS,
    USAGE_KEYS,
    Admission,
    Later,
    Outcomes,
    Period,
    Reached,
    Reservation,
    Standing,
    Unit,
    UsageBatch,
    UsageKey,
    UsageRow,
    Whose,
    Window,
    day_of,
    days_before,
    minute_of,
)

ALL = ""
"""The owner of what all use together."""

COLUMNS = ("calls", "input_tokens", "cached_tokens", "output_tokens", "reasoning_tokens", "lost_tokens")

ADD_USAGE = (
    f"INSERT INTO usage (day, owner, graph, model, {', '.join(COLUMNS)}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) "
    "ON CONFLICT (day, owner, graph, model) DO UPDATE SET "
    + ", ".join(f"{name} = usage.{name} + excluded.{name}" for name in COLUMNS)
)

COUNT = (
    "INSERT INTO limit_counters (period, owner, requests, tokens) VALUES (?, ?, ?, ?) "
    "ON CONFLICT (period, owner) DO UPDATE SET requests = limit_counters.requests + excluded.requests, "
    "tokens = limit_counters.tokens + excluded.tokens"
)

MOST_KEYS = 500
"""Parameters of one statement."""

Key = tuple[str, str]
"""A period and an owner."""


class SqlUsage:
    """See `UsageStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def apply(self, batch: UsageBatch) -> Outcomes:
        """See `UsageStore.apply`."""
        return await self._database.write(lambda connection: _Applying(self._database, connection, batch).apply())

    async def usage(
        self,
        *,
        since: str,
        until: str,
        owner: str | None = None,
        by: Sequence[UsageKey] = USAGE_KEYS,
        most: int | None = None,
    ) -> Sequence[UsageRow]:
        """See `UsageStore.usage`."""
        names = ["owner" if one == "user" else one for one in by]
        keys = [] if owner is None else _keys_of(owner)
        mine = f"AND owner IN ({_marks(keys)}) " if keys else ""
        order = [*names] if most is None else ["SUM(input_tokens + output_tokens + lost_tokens) DESC", *names]
        statement = (
            f"SELECT {', '.join([*names, *(f'SUM({one})' for one in COLUMNS)])} FROM usage "
            f"WHERE day >= ? AND day <= ? {mine}"
            + (f"GROUP BY {', '.join(names)} " if names else "HAVING COUNT(*) > 0 ")
            + (f"ORDER BY {', '.join(order)} " if order and names else "")
            + ("" if most is None else f"LIMIT {most:d}")
        )

        async def work(connection: Connection) -> list[UsageRow]:
            rows = []
            for row in await connection.rows(statement, (since, until, *keys)):
                values: dict[str, Any] = dict(zip(by, row, strict=False))
                # PostgreSQL's sums are no integers.
                values |= {name: int(value) for name, value in zip(COLUMNS, row[len(by) :], strict=True)}
                rows.append(UsageRow(**values))
            return rows

        return await self._database.read(work)


def _keys_of(owner: str) -> list[str]:
    """The keys that a text names: itself, and unless it has a kind, those of the users of every kind with this id."""
    kinds = get_args(Kind)
    kind, colon, _ = owner.partition(":")
    # The id of another user may look like the key of this one.
    return [owner] if colon and kind in kinds else [owner, *(f"{one}:{owner}" for one in kinds)]


async def forget_usage(connection: Connection, owner: Owner) -> None:
    """Remove the name of an owner from the table of usage. What counts against the limits of the day stays for that
    day: otherwise who deletes everything would begin anew."""
    # Deleted first: what a call adds meanwhile is in what was deleted, or comes after it.
    rows = await connection.rows(
        f"DELETE FROM usage WHERE owner = ? RETURNING day, graph, model, {', '.join(COLUMNS)}", (owner.key,)
    )
    await connection.run_many(
        ADD_USAGE, [(day, FORGOTTEN, graph, model, *figures) for day, graph, model, *figures in sorted(rows)]
    )


class _Applying:
    """One batch in its transaction."""

    def __init__(self, database: Database, connection: Connection, batch: UsageBatch) -> None:
        self._database, self._connection, self._batch = database, connection, batch
        self._now = batch.now
        self._day, self._minute = day_of(batch.now), minute_of(batch.now)
        self._usage: defaultdict[tuple[str, str, str, str], Counter[str]] = defaultdict(Counter)
        self._requests: Counter[Key] = Counter()
        self._tokens: Counter[Key] = Counter()
        self._counted: dict[Key, tuple[int, int]] = {}
        self._reserved: Counter[str] = Counter()
        self._granted: Counter[str] = Counter()

    async def apply(self) -> Outcomes:
        batch = self._batch
        counts = batch.limits.of_tokens or batch.limits.of_requests
        if counts:
            # The lock that orders the batches of all processes.
            lock = f"SELECT requests FROM limit_counters WHERE period = '' AND owner = '' {self._database.for_update}"
            await self._connection.rows(lock)
        await self._charge()
        if batch.limits.of_tokens:
            await self._renew()
            await self._lose()
        await self._grant()
        admitted, reserved = [], []
        if batch.admissions or batch.reservations:
            await self._read([one.owner for one in batch.admissions] + [one.call.owner for one in batch.reservations])
            admitted = [self._admit(one) for one in batch.admissions]
            reserved = [self._reserve(one) for one in batch.reservations]
        until = f"{self._database.now} + ?"
        await self._connection.run_many(
            "INSERT INTO reservations (id, day, owner, graph, model, tokens, until, lost) "
            f"VALUES (?, ?, ?, ?, ?, ?, {until}, 0)",
            [
                (
                    one.id,
                    one.call.day,
                    one.call.owner.key,
                    one.call.graph,
                    one.call.model,
                    one.tokens,
                    batch.busy_seconds,
                )
                for one, outcome in zip(batch.reservations, reserved, strict=False)
                if outcome is None
            ],
        )
        await self._write()
        if batch.cleans:
            await self._clean()
        return Outcomes(admissions=admitted, reservations=reserved)

    async def _charge(self) -> None:
        """Count what calls have used. A reservation that counts as lost is taken back."""
        ended = [one.reservation for one in self._batch.charges if one.reservation is not None]
        found: dict[str, tuple[int, int]] = {}
        for some in _portions(ended):
            rows = await self._connection.rows(
                f"DELETE FROM reservations WHERE id IN ({_marks(some)}) RETURNING id, tokens, lost", some
            )
            found |= {id_: (int(tokens), lost) for id_, tokens, lost in rows}
        for one in self._batch.charges:
            tokens, lost = (0, 0) if one.reservation is None else found.get(one.reservation, (0, -1))
            if lost < 0:
                # It was settled before: the same batch was committed, and is sent again.
                continue
            use = self._usage[one.call.day, one.call.owner.key, one.call.graph, one.call.model]
            use["calls"] += one.calls
            for name in ("input_tokens", "cached_tokens", "output_tokens", "reasoning_tokens"):
                use[name] += getattr(one, name)
            if lost:
                use["lost_tokens"] -= tokens
            self._spend(one.call.day, one.call.owner.key, one.tokens - (tokens if lost else 0))

    async def _renew(self) -> None:
        for some in _portions(self._batch.renewed):
            await self._connection.run(
                f"UPDATE reservations SET until = {self._database.now} + ? WHERE lost = 0 AND id IN ({_marks(some)})",
                (self._batch.busy_seconds, *some),
            )

    async def _lose(self) -> None:
        """Count the reservations of calls whose process is gone as used: nobody knows how much a model has written."""
        rows = await self._connection.rows(
            f"UPDATE reservations SET lost = 1 WHERE lost = 0 AND until < {self._database.now} "
            "RETURNING day, owner, graph, model, tokens"
        )
        for day, owner, graph, model, tokens in rows:
            self._usage[day, owner, graph, model]["lost_tokens"] += int(tokens)
            self._spend(day, owner, int(tokens))

    async def _grant(self) -> None:
        await self._connection.run_many(
            "INSERT INTO limit_grants (day, owner, id, tokens) VALUES (?, ?, ?, ?) "
            "ON CONFLICT (day, owner, id) DO NOTHING",
            [(self._day, one.owner.key, one.id, one.tokens) for one in self._batch.grants],
        )

    def _spend(self, day: str, owner: str, tokens: int) -> None:
        if self._batch.limits.of_tokens:
            self._tokens[day, owner] += tokens
            self._tokens[day, ALL] += tokens

    async def _read(self, owners: Iterable[Owner]) -> None:
        """Read what counts against the limits of these owners now."""
        keys = list(dict.fromkeys([ALL, *(one.key for one in owners)]))
        for some in _portions(keys):
            rows = await self._connection.rows(
                "SELECT period, owner, requests, tokens FROM limit_counters "
                f"WHERE period IN (?, ?) AND owner IN ({_marks(some)})",
                (self._day, self._minute, *some),
            )
            self._counted |= {(period, owner): (int(n), int(tokens)) for period, owner, n, tokens in rows}
            if self._batch.limits.user_extra_tokens is not None:
                granted = await self._connection.rows(
                    f"SELECT owner, tokens FROM limit_grants WHERE day = ? AND owner IN ({_marks(some)})",
                    (self._day, *some),
                )
                for owner, tokens in granted:
                    self._granted[owner] += int(tokens)
        if self._batch.limits.of_tokens:
            rows = await self._connection.rows(
                "SELECT owner, SUM(tokens) FROM reservations WHERE day = ? AND lost = 0 GROUP BY owner", (self._day,)
            )
            for owner, tokens in rows:
                self._reserved[owner] += int(tokens)
                self._reserved[ALL] += int(tokens)

    # -- what is left -----------------------------------------------------------------------------------------------

    def _window(self, whose: Whose, unit: Unit, period: Period, owner: Owner) -> Window | None:
        limits: Limits = self._batch.limits
        limit = getattr(limits, f"{'user_' if whose == 'user' else ''}{unit}_per_{period}")
        if limit is None:
            return None
        key = owner.key if whose == "user" else ALL
        if unit == "tokens" and whose == "user":
            limit += self._granted[key]
        place = (self._day if period == "day" else self._minute, key)
        requests, tokens = self._counted.get(place, (0, 0))
        used = requests + self._requests[place] if unit == "requests" else tokens + self._tokens[place]
        seconds = DAY_SECONDS if period == "day" else MINUTE_SECONDS
        return Window(limit=limit, left=limit - used, resets_at=(self._now // seconds + 1) * seconds)

    def _windows(self, unit: Unit, owner: Owner) -> list[tuple[Whose, Period, Window]]:
        """The limits of this unit, those that last longest first: a client waits for the last one."""
        periods: tuple[Period, ...] = ("day", "minute") if unit == "requests" else ("day",)
        sides: tuple[Whose, ...] = ("user", "all")
        return [
            (whose, period, window)
            for period in periods
            for whose in sides
            if (window := self._window(whose, unit, period, owner)) is not None
        ]

    def _standing(self, owner: Owner) -> Standing:
        return Standing(
            requests=_tightest(window for _, _, window in self._windows("requests", owner)),
            tokens=_tightest(window for _, _, window in self._windows("tokens", owner)),
        )

    def _admit(self, asked: Admission) -> Standing | Reached:
        units: tuple[Unit, ...] = ("requests", "tokens") if asked.counts else ("tokens",)
        for unit in units:
            for whose, period, window in self._windows(unit, asked.owner):
                if window.left > 0 or (unit == "tokens" and whose == "user" and asked.asks):
                    continue
                return self._reached(whose, unit, period, window, asked.owner)
        if asked.counts and self._batch.limits.of_requests:
            for place in (self._minute, self._day):
                for key in (asked.owner.key, ALL):
                    self._requests[place, key] += 1
        return self._standing(asked.owner)

    def _reserve(self, asked: Reservation) -> Reached | Later | None:
        owner = asked.call.owner
        later = None
        for whose, period, window in self._windows("tokens", owner):
            if window.left < asked.tokens:
                return self._reached(whose, "tokens", period, window, owner)
            if window.left - self._reserved[owner.key if whose == "user" else ALL] < asked.tokens:
                later = later or Later(self._reached(whose, "tokens", period, window, owner))
        if later is None:
            self._reserved[owner.key] += asked.tokens
            self._reserved[ALL] += asked.tokens
        return later

    def _reached(self, whose: Whose, unit: Unit, period: Period, window: Window, owner: Owner) -> Reached:
        return Reached(whose=whose, unit=unit, period=period, window=window, standing=self._standing(owner))

    # -- the end of the batch ---------------------------------------------------------------------------------------

    async def _write(self) -> None:
        places = sorted({*self._requests, *self._tokens})
        await self._connection.run_many(
            COUNT,
            [(period, owner, self._requests[period, owner], self._tokens[period, owner]) for period, owner in places],
        )
        if self._batch.usage_days:
            # In one order, so that two processes never wait for each other.
            used = sorted(self._usage.items())
            await self._connection.run_many(ADD_USAGE, [(*key, *(use[name] for name in COLUMNS)) for key, use in used])

    async def _clean(self) -> None:
        """Delete what no limit needs any more, and old usage."""
        if self._batch.limits.of_tokens or self._batch.limits.of_requests:
            yesterday, minute = days_before(self._now, 1), minute_of(self._now - 10 * MINUTE_SECONDS)
            await self._connection.run(
                "DELETE FROM limit_counters "
                "WHERE period <> '' AND (period < ? OR (LENGTH(period) > 10 AND period < ?))",
                (yesterday, minute),
            )
            await self._connection.run("DELETE FROM limit_grants WHERE day < ?", (yesterday,))
            await self._connection.run("DELETE FROM reservations WHERE lost = 1 AND day < ?", (yesterday,))
        if self._batch.usage_days:
            await self._connection.run(
                "DELETE FROM usage WHERE day < ?", (days_before(self._now, self._batch.usage_days),)
            )


def _tightest(windows: Iterable[Window]) -> Window | None:
    return min(windows, key=lambda window: window.left, default=None)


def _portions(keys: Sequence[str]) -> Iterable[Sequence[str]]:
    return (keys[start : start + MOST_KEYS] for start in range(0, len(keys), MOST_KEYS))


def _marks(keys: Sequence[str]) -> str:
    return ", ".join("?" * len(keys))
