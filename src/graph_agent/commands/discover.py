"""`graph-agent discover`: what the workspace has that an agent could use."""

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from graph_agent.app_context import AppContext
from graph_agent.errors import BadSetting
from graph_agent.printable import one_line
from graph_agent.settings import Settings

if TYPE_CHECKING:
    from graph_agent.databricks.discovery import Listed


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add where to look, and the form of the output."""
    parser.add_argument("--catalog", metavar="NAME", help="look for functions in this catalog only")
    parser.add_argument("--schema", metavar="NAME", help="look for functions in this schema of --catalog only")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(options: argparse.Namespace) -> int:
    """Run the command. The exit status is 1 if nothing could be listed."""
    # Late: imports the SDK, which takes seconds.
    from graph_agent.databricks.discovery import discover

    if options.schema and not options.catalog:
        raise BadSetting("--schema needs --catalog, the catalog of the schema", param="--schema")
    with AppContext(Settings.from_environment()).entered():
        found = discover(options.catalog, options.schema)
    if options.json:
        print(json.dumps({"kinds": [asdict(one) for one in found]}, indent=2))
    else:
        for line in _told(found):
            print(line)
    return 1 if all(one.problem and not one.items for one in found) else 0


def _told(found: "Sequence[Listed]") -> Iterator[str]:
    for listed in found:
        yield f"{listed.kind}: {len(listed.items)}{' or more' if listed.incomplete else ''}"
        for item in listed.items:
            state = f" ({one_line(item.state)})" if item.state else ""
            yield f"  {one_line(item.name)}{state}"
            yield f"      {one_line(item.use)}"
            if item.description:
                yield f"      {one_line(item.description)}"
        if listed.skipped:
            yield f"  {listed.skipped} places within could not be read"
        if listed.problem:
            yield f"  {one_line(listed.problem)}"
