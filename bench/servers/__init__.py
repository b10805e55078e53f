"""The servers to compare with. Start one with `python -m bench.servers.NAME --port PORT`."""

import argparse
from typing import Any

import uvicorn


def serve(app: Any) -> None:
    """Serve an ASGI app on the loopback interface with one worker and no access log, until it is stopped."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    uvicorn.run(app, host="127.0.0.1", port=parser.parse_args().port, log_level="warning")
