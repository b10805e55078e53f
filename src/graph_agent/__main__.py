"""`python -m graph_agent`: the same as the `graph-agent` command."""

import sys

from graph_agent.commands.cli import main

if __name__ == "__main__":
    sys.exit(main())
