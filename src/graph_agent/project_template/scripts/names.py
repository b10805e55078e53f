#!/usr/bin/env python
"""The commands of Databricks' app templates, by their names there: `uv run quickstart`, `uv run start-app`, and so on.

Each is a command of graph-agent. `python scripts/names.py install` puts the names beside the `python` that runs it,
where `uv run` finds them. The name under which this file is run decides what it does.
"""

import os
import shutil
import sys
from pathlib import Path

NAMES = {
    "quickstart": ["doctor"],
    "start-app": ["dev"],
    "start-server": ["serve"],
    "agent-evaluate": ["eval"],
    "discover-tools": ["discover"],
    "grant-lakebase-permissions": ["grant-store"],
    "preflight": ["deploy", "--dry-run"],
}


def main() -> int:
    """Run the command that has the name of this program, with the arguments of this one."""
    name = Path(sys.argv[0]).name
    if name == "names.py" and sys.argv[1:] == ["install"]:
        return install(Path(sys.executable).parent)
    if name not in NAMES:
        print(f"usage: python scripts/names.py install; then uv run {'|'.join(NAMES)}", file=sys.stderr)
        return 2
    # Late: `install` needs no graph-agent.
    try:
        from graph_agent.commands.cli import main as graph_agent
    except ModuleNotFoundError:
        print("graph-agent is not installed here; README.md says how to set the project up", file=sys.stderr)
        return 2
    arguments = NAMES[name]
    if name == "quickstart":
        make_env_file()
    if name == "start-app" and os.environ.get("DATABRICKS_APP_NAME"):
        arguments = ["serve"]
    elif name == "start-app" and any(os.environ.get(one) for one in ("DATABRICKS_HOST", "DATABRICKS_CONFIG_PROFILE")):
        # As in the templates: a workspace that is configured is used.
        arguments = [*arguments, "--real-workspace"]
    # The command reads them itself, because it handles signals only if nobody passes them.
    sys.argv[1:] = [*arguments, *sys.argv[1:]]
    status = graph_agent()
    if name == "quickstart":
        print('\nnext: uv run start-app, and in another terminal: graph-agent ask "Hello"')
    return status


def install(folder: Path) -> int:
    """Put a link for each name into the folder of programs."""
    this = Path(__file__).resolve()
    this.chmod(this.stat().st_mode | 0o111)
    for name in NAMES:
        link = folder / name
        if link.is_symlink():
            link.unlink()
        elif link.exists():
            print(f"{link} is there already, and belongs to another package; it stays", file=sys.stderr)
            continue
        link.symlink_to(this)
    return 0


def make_env_file() -> None:
    """Write .env, if there is none yet."""
    if Path(".env.example").is_file() and not Path(".env").exists():
        shutil.copyfile(".env.example", ".env")
        print("wrote .env from .env.example; fill it in, and pass it on: uv run --env-file .env start-app\n")


if __name__ == "__main__":
    sys.exit(main())
