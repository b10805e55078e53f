"""`python -m graph_agent.local.studio_server [FOLDER…] -- dev …`: LangGraph's command for `graph-agent studio`.

It is `langgraph` with two additions: it ends when its standard input does, which is when its parent is gone; and it
watches the folders given for edits, in place of everything below the current one.
"""

import os
import signal
import sys
import threading
from functools import partial


def main(arguments: list[str]) -> None:
    """Run the command after `--`; the folders stand before it."""
    import langgraph_api.cli
    import langgraph_cli.cli

    at = arguments.index("--")
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if folders := arguments[:at]:
        # The command has no option for it; what it does not know itself it passes on to uvicorn.
        langgraph_api.cli.run_server = partial(langgraph_api.cli.run_server, reload_dirs=folders)
    langgraph_cli.cli.cli(arguments[at + 1 :])


def _end_with_parent() -> None:
    sys.stdin.buffer.read()
    os.kill(os.getpid(), signal.SIGTERM)


# With reload, each server process imports this module again.
if __name__ == "__main__":
    main(sys.argv[1:])
