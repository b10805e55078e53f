"""One MLflow tracking server in a separate process. It receives all traces."""

import http.client
import json
from dataclasses import dataclass
from typing import Any

from bench.processes import Server, Servers, free_port

START_SECONDS = 120.0
"""MLflow takes many seconds just to create its database."""


@dataclass(frozen=True, slots=True)
class Tracking:
    """A running tracking server."""

    server: Server

    @property
    def uri(self) -> str:
        """Its `MLFLOW_TRACKING_URI`."""
        return f"http://127.0.0.1:{self.server.port}"

    def new_experiment(self, name: str) -> str:
        """Create an experiment and return its id."""
        return str(self._post("/api/2.0/mlflow/experiments/create", {"name": name})["experiment_id"])

    def count(self, experiment: str) -> int:
        """Return the number of traces in an experiment."""
        total, page = 0, ""
        while True:
            location = {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": experiment}}
            found = self._post(
                "/api/3.0/mlflow/traces/search", {"locations": [location], "max_results": 500, "page_token": page}
            )
            total += len(found.get("traces", []))
            page = found.get("next_page_token", "")
            if not page:
                return total

    def _post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=30)
        try:
            connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
            answer = connection.getresponse()
            content = answer.read()
            if answer.status != 200:
                raise OSError(f"the tracking server answered {answer.status} to {path}: {content[:300]!r}")
            return dict(json.loads(content))
        finally:
            connection.close()


def start_tracking(servers: Servers) -> Tracking:
    """Start the server on a SQLite file and wait until it answers. Job workers are off, as they take gigabytes.

    Raises:
        ServerBroken: it did not start.
    """
    port = free_port()
    arguments = ["-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    folder = servers.folder
    stores = ["--backend-store-uri", f"sqlite:///{folder}/traces.db", "--artifacts-destination", f"{folder}/artifacts"]
    server = servers.start(
        "tracking", [*arguments, *stores], port=port, environ={"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    )
    server.wait_until_it_answers(seconds=START_SECONDS)
    return Tracking(server)
