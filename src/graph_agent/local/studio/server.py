"""`python -m graph_agent.local.studio.server [FOLDER…] -- dev …`: LangGraph's command for `graph-agent studio`.

It is `langgraph` with five differences: it ends when its parent does; it watches the folders given for edits, in place
of everything below the current one; it waits only seconds for open requests when it stops or reloads; it refuses what
web pages other than Studio's ask; and it does not read the `env` of `langgraph.json`, as the service does not, which
would send runs to another workspace.
"""

import functools
import sys
from typing import Any

from graph_agent.processes.end_with_parent import end_with_parent

STOP_SECONDS = 3
APP = "graph_agent.local.studio.app:create"
"""By name, as with reload another process imports it."""


def main(arguments: list[str]) -> None:
    """Run the command after `--`; the folders stand before it."""
    import langgraph_api.cli
    import langgraph_cli.cli
    import uvicorn

    at, run = arguments.index("--"), langgraph_api.cli.run_server
    # The command has no options for these; what it does not know itself it passes on to uvicorn.
    more: dict[str, Any] = {"timeout_graceful_shutdown": STOP_SECONDS}
    if folders := arguments[:at]:
        more["reload_dirs"] = folders

    def run_server(*given: Any, env: Any = None, **named: Any) -> Any:
        if env:
            print("`env` of langgraph.json is not read, here as in the service: set its variables yourself")
        return run(*given, **named, **more)

    server: Any = uvicorn
    serve = server.run

    @functools.wraps(serve)
    def serve_guarded(_: object, **named: Any) -> None:
        serve(APP, factory=True, **named)

    server.run = serve_guarded
    langgraph_api.cli.run_server = run_server
    langgraph_cli.cli.cli(arguments[at + 1 :])


# With reload, the server is a process below this one that imports this module again, under the name `multiprocessing`
# gives it: were this one killed, it would stay.
if __name__ in ("__main__", "__mp_main__"):
    end_with_parent()
if __name__ == "__main__":
    main(sys.argv[1:])
