"""Measures the rows interleaved in rounds, because the speed of a shared machine changes over time."""

import asyncio
import sys
import time
from collections.abc import Sequence

from bench.client import BODY, MESSAGE, STORED_BODY, Load, StreamBroken, Target, at_once, singly
from bench.figures import Plan, Result, visit_of
from bench.processes import Server, ServerBroken, Servers, cpu_seconds, free_port, memory_mb
from bench.rows import Row
from bench.tracking import Tracking

TOTAL_SECONDS = 600.0
"""No round is started that would end later than this, judging by the longest round so far."""

SETTLE_SECONDS = 60.0
"""The longest wait for a server to become idle."""

EXPORT_SECONDS = 0.8
"""Idle time after which all traces are delivered. Exporters collect traces for half a second before they send."""


class Contest:
    """Starts every row, measures all of them in rounds, and measures their memory at the end."""

    def __init__(
        self, plan: Plan, running: Servers, tracking: Tracking | None, *, began: float, postgres: str | None = None
    ) -> None:
        self._plan = plan
        self._running = running
        self._tracking = tracking
        self._postgres = postgres
        self._experiments: dict[str, str] = {}
        self._hosts: dict[str, Server] = {}
        self._began = began

    def say(self, words: str) -> None:
        """Print progress to standard error, apart from the figures."""
        print(f"[{time.perf_counter() - self._began:4.0f} s] {words}", file=sys.stderr, flush=True)

    def run(self, rows: Sequence[Row]) -> list[Result]:
        """Return the figures of the rows. A row that fails has the reason, and is not measured any further."""
        results = [self._started(row) for row in rows]
        longest = 0.0
        for number in range(1, self._plan.rounds + 1):
            began = time.perf_counter()
            if number > 1 and began - self._began + longest > TOTAL_SECONDS:
                self.say(f"stopped after {number - 1} rounds, because the time is limited")
                break
            for result in results:
                if result.broken is None:
                    self._visit(result, f"round {number}/{self._plan.rounds}")
            longest = max(longest, time.perf_counter() - began)
        for result in results:
            if result.broken is None:
                self._weigh(result)
        return results

    def _started(self, row: Row) -> Result:
        result = Result(row)
        try:
            self._start(result)
        except (ServerBroken, StreamBroken, OSError) as error:
            self._record_failure(result, error)
        else:
            answers, ready = result.answers_seconds, result.ready_seconds
            self.say(f"{row.label}: the port answers after {answers:.1f} s, ready after {ready:.1f} s")
        return result

    def _start(self, result: Result) -> None:
        row, port = result.row, free_port()
        arguments = [*row.arguments, "--port", str(port)]
        server = self._running.start(row.name, arguments, port=port, environ=self._environ(row), python=row.python)
        self._hosts[row.name] = server
        result.answers_seconds = server.wait_until_it_answers(seconds=120)
        asyncio.run(singly(_target(row, server), streams=1))
        result.ready_seconds = time.perf_counter() - server.started
        warm = asyncio.run(at_once(_target(row, server), streams=self._plan.streams // 4, seconds=0))
        self._settle(server)
        result.streams += 1 + warm.streams

    def _environ(self, row: Row) -> dict[str, str]:
        places = {"{folder}": str(self._running.folder), "{postgres}": self._postgres or ""}
        environ = dict(row.environ)
        for place, text in places.items():
            environ = {name: value.replace(place, text) for name, value in environ.items()}
        if row.traces and self._tracking is not None:
            self._experiments[row.name] = self._tracking.new_experiment(row.name)
            environ |= {
                "MLFLOW_TRACKING_URI": self._tracking.uri,
                "MLFLOW_EXPERIMENT_ID": self._experiments[row.name],
            }
        return environ

    def _visit(self, result: Result, when: str) -> None:
        server = self._hosts[result.row.name]
        try:
            # One more than needed: the first stream of a connection includes the connection, and is not counted.
            singles = asyncio.run(singly(_target(result.row, server), streams=self._plan.singles + 1))
            self._settle(server)
            load, cpu = self._loaded(result.row, server)
        except (ServerBroken, StreamBroken, OSError) as error:
            self._record_failure(result, error)
            return
        result.streams += len(singles) + load.streams
        result.visits.append(visit_of(singles[1:], load, cpu))
        self.say(f"{when}, {result.row.label}: {load.tokens / load.seconds:,.0f} token events/s")

    def _loaded(self, row: Row, server: Server) -> tuple[Load, float]:
        plan, before = self._plan, cpu_seconds(server.pid)
        least = plan.least if row.least is None else row.least
        load = asyncio.run(at_once(_target(row, server), streams=plan.streams, seconds=plan.seconds, least=least))
        self._settle(server, quiet_seconds=EXPORT_SECONDS if row.traces else 0.2)
        return load, cpu_seconds(server.pid) - before

    def _settle(self, server: Server, *, quiet_seconds: float = 0.2) -> None:
        """Wait until the server is idle. Remaining work of one row must not slow down the next."""
        server.check()
        pids = [server.pid] if self._tracking is None else [server.pid, self._tracking.server.pid]
        used = sum(map(cpu_seconds, pids))
        busy_at = began = time.perf_counter()
        while time.perf_counter() - busy_at < quiet_seconds and time.perf_counter() - began < SETTLE_SECONDS:
            time.sleep(0.1)
            before, used = used, sum(map(cpu_seconds, pids))
            if used - before > 0.02:
                busy_at = time.perf_counter()

    def _weigh(self, result: Result) -> None:
        name = result.row.name
        try:
            result.memory_mb = memory_mb(self._hosts[name].pid)
            if self._tracking is not None and name in self._experiments:
                result.traces = self._arrived(self._experiments[name], result.streams)
                if not result.traces:
                    # Without traces, the row did not do the work that it is meant to measure.
                    raise ServerBroken(f"no trace arrived; {self._hosts[name].last_output()}")
        except (ServerBroken, OSError) as error:
            self._record_failure(result, error)

    def _arrived(self, experiment: str, expected: int) -> int:
        assert self._tracking is not None
        deadline = time.perf_counter() + 10
        while (count := self._tracking.count(experiment)) < expected and time.perf_counter() < deadline:
            time.sleep(0.5)
        return count

    def _record_failure(self, result: Result, error: Exception) -> None:
        result.broken = f"{type(error).__name__}: {error}"
        self.say(f"{result.row.label} failed: {result.broken}")


def _target(row: Row, server: Server) -> Target:
    body = row.body or (MESSAGE if row.socket else STORED_BODY if row.stores else BODY)
    return Target(
        port=server.port,
        path=row.path,
        token=row.token,
        body=body,
        tokens=row.tokens,
        separator=row.separator,
        socket=row.socket,
    )
