"""Flags that several commands share, and the settings they produce."""

import argparse
from pathlib import Path
from typing import Any

from graph_agent.settings import Settings


def add_config(parser: argparse.ArgumentParser) -> None:
    """Add `--config`, the list of graphs."""
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help="file that lists the graphs (default: langgraph.json)"
    )


def add_service_options(parser: argparse.ArgumentParser) -> None:
    """Add the graphs to serve, and the address to serve them on."""
    add_config(parser)
    parser.add_argument("--graph", metavar="NAME", help="graph that answers requests that do not name one")
    parser.add_argument("--host", metavar="HOST", help="address to listen on (default: 127.0.0.1)")
    parser.add_argument("--port", type=int, metavar="PORT", help="port to listen on (default: 8000)")


def add_workspace_options(parser: argparse.ArgumentParser) -> None:
    """Add the choices of `dev` and `studio`: reloading, and the workspace to use."""
    parser.add_argument("--no-reload", action="store_true", help="do not reload graphs when they change")
    parser.add_argument(
        "--real-workspace",
        action="store_true",
        help="use the Databricks workspace of the environment, not the local one",
    )


def port_number(text: str) -> int:
    """Parse a `--port`: a number from 1 to 65535."""
    # Port 0 lets the system choose. The commands that use this print the address before they know that choice.
    if text.isdecimal() and 0 < int(text) < 65536:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not a port number; use a number from 1 to 65535")


def settings_from(options: argparse.Namespace, **overrides: str) -> Settings:
    """The settings of the environment. The command's flags override them."""
    flags: dict[str, Any] = {name: getattr(options, name, None) for name in ("config", "host", "port")}
    flags["default_graph"] = getattr(options, "graph", None)
    return Settings.from_environment(None, **flags, **overrides)
