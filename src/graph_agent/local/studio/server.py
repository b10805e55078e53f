"""`python -m graph_agent.local.studio.server [FOLDER…] -- dev …`: LangGraph's command for `graph-agent studio`.

It is `langgraph` with five differences:

- It ends when its parent ends.
- It watches the given folders for edits, and not everything below the current folder.
- When it stops or reloads, it waits only seconds for open requests.
- It refuses requests from web pages other than Studio.
- Like the service, it does not read `env` of `langgraph.json`, which could send runs to another workspace.
"""

import functools
import sys
from typing import Any

from graph_agent.processes.end_with_parent import end_with_parent

STOP_SECONDS = 3
APP = "graph_agent.local.studio.app:create"
"""An import path, because with reload another process imports the app."""


def main(arguments: list[str]) -> None:
    """Run the command after `--`. The arguments before it are the folders."""
    import langgraph_api.cli
    import langgraph_cli.cli
    import uvicorn

    at, run = arguments.index("--"), langgraph_api.cli.run_server
    # The command has no options for these. `run_server` passes arguments that it does not know on to uvicorn.
    more: dict[str, Any] = {"timeout_graceful_shutdown": STOP_SECONDS}
    if folders := arguments[:at]:
        more["reload_dirs"] = folders

    def run_server(*given: Any, env: Any = None, **named: Any) -> Any:
        if env:
            print("`env` of langgraph.json is not read, here or in the service: set its variables in the environment")
        return run(*given, **named, **more)

    server: Any = uvicorn
    serve = server.run

    @functools.wraps(serve)
    def serve_guarded(_: object, **named: Any) -> None:
        serve(APP, factory=True, **named)

    server.run = serve_guarded
    langgraph_api.cli.run_server = run_server
    langgraph_cli.cli.cli(arguments[at + 1 :])


# With reload, the server is a child process that imports this module again, under the name that `multiprocessing` gives
# to it. If this process were killed, the child would stay, so it has to watch its parent too.
if __name__ in ("__main__", "__mp_main__"):
    end_with_parent()
if __name__ == "__main__":
    main(sys.argv[1:])
