"""`graph-agent schedule`: check the file of schedules, and list what is in it. It starts nothing."""

import argparse
import os
import sys
import time
from datetime import datetime
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING

from graph_agent.catalog.manifest import read_manifest
from graph_agent.commands.options import add_config, settings_from
from graph_agent.errors import AgentError, BadFile
from graph_agent.operator_files import operator_file
from graph_agent.serving.identity import Identity
from graph_agent.settings import Settings

if TYPE_CHECKING:
    from graph_agent.scheduling.schedule_file import Schedule

TIMES = 3
"""How many of the next times are listed."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the list of graphs, beside which the file is."""
    add_config(parser)


def run(options: argparse.Namespace) -> int:
    """Run the command."""
    return schedule(settings_from(options))


def schedule(settings: Settings) -> int:
    """Print every schedule, or every problem. The exit status is 1 if something must be fixed."""
    # Late: imports LangChain, which takes seconds.
    from graph_agent.protocol.requests import parse_request
    from graph_agent.scheduling import schedule_file
    from graph_agent.webhooks import targets

    path = operator_file(settings.schedules, beside=settings.config, name=schedule_file.FILE)
    if path is None:
        print(f"FIX  there is no {schedule_file.FILE} beside {settings.config}", file=sys.stderr)
        return 1
    identity = Identity.from_environment(os.environ, local_user=settings.local_user, user_header=settings.user_header)
    problems: list[str] = []
    try:
        schedule_file.check_settings(settings)
    except AgentError as error:
        problems.append(error.message)
    try:
        graphs = [spec.name for spec in read_manifest(settings.config)]
        webhooks = operator_file(settings.webhooks, beside=settings.config, name=targets.FILE)
        parse = partial(
            parse_request,
            graphs=graphs,
            fallback=settings.fallback_graph,
            stores=True,
            stored_by_default=True,
            background_served=True,
            webhooks=targets.target_names(webhooks),
            servers=settings.client_mcp_addresses,
        )
        found = schedule_file.read_schedules(path, kind=identity.kind, parse=parse)
    except BadFile as error:
        problems += error.problems
    except AgentError as error:
        problems.append(error.message)
    for problem in problems:
        print(f"FIX  {problem}", file=sys.stderr)
    if problems:
        return 1
    default = settings.default_graph or graphs[0]
    for one in found:
        _print(one, graph=one.graph or default)
        if identity.kind == "local" and one.owner.user != settings.local_user:
            print(f"  note: every caller of this service is {settings.local_user}, who cannot read its responses")
    if not found:
        print(f"no schedules in {path}")
    return 0


def _print(one: "Schedule", *, graph: str) -> None:
    times = islice(one.cron.times_after(time.time()), TIMES)
    shown = [datetime.fromtimestamp(moment, one.cron.zone).isoformat(timespec="minutes") for moment in times]
    print(f"{one.name}: {one.cron.line} ({one.cron.zone.key})")
    print(f"  graph {graph}, owner {one.owner.user}, overlap {'skip' if one.alone else 'allow'}")
    print(f"  next: {', '.join(shown)}")
