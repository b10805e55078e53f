"""Flags that several commands take, and the settings they make."""

import argparse
from pathlib import Path
from typing import Any

from graph_agent.settings import Settings


def add_config(parser: argparse.ArgumentParser) -> None:
    """`--config`, the list of graphs."""
    parser.add_argument("--config", type=Path, metavar="FILE", help="the list of graphs (default: langgraph.json)")


def add_service_options(parser: argparse.ArgumentParser) -> None:
    """What is served, and where."""
    add_config(parser)
    parser.add_argument("--graph", metavar="NAME", help="the graph that answers when a request names none")
    parser.add_argument("--host", metavar="H", help="address to bind (default: 127.0.0.1)")
    parser.add_argument("--port", type=int, metavar="P", help="port to bind (default: 8000)")


def port_number(text: str) -> int:
    """The type of a `--port` that must be a real port."""
    if text.isdecimal() and 0 < int(text) < 65536:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is no port; give a number from 1 to 65535")


def settings_from(options: argparse.Namespace, **overrides: str) -> Settings:
    """The settings of the environment, with the command's flags over them."""
    flags: dict[str, Any] = {name: getattr(options, name, None) for name in ("config", "host", "port")}
    flags["default_graph"] = getattr(options, "graph", None)
    return Settings.from_environment(None, **flags, **overrides)
