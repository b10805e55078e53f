"""`graph-agent load`: ask a served agent as many users at a time would, and write a report with plots."""

import argparse
import asyncio
import json
import sys
import tempfile
from datetime import datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path

from graph_agent.commands import deployed_app
from graph_agent.commands.options import settings_from
from graph_agent.load_testing.addresses import OF_APP, Address, url_of
from graph_agent.load_testing.errors import LoadRefused
from graph_agent.load_testing.gate import Gate, MostErrors
from graph_agent.load_testing.plan import Plan
from graph_agent.load_testing.progress import Progress
from graph_agent.load_testing.questions import USUAL, read_questions
from graph_agent.load_testing.report import Report
from graph_agent.load_testing.users import LoadTest
from graph_agent.processes.shutdown import INTERRUPTED
from graph_agent.settings import Settings

PAGE, FIGURES = "report.html", "report.json"
SPARE_FILES = 100
"""Open files that a process needs besides its connections."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add whom to ask, the load, the limits and where the report goes."""
    usual = Plan()
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "url",
        nargs="?",
        metavar="URL",
        help="address of a service, or of one of its routes that stream, such as http://HOST/v1/chat/completions "
        "(default: the service on this machine)",
    )
    where.add_argument("--app", metavar="NAME", help="name of a deployed app to ask; signs in with OAuth")
    parser.add_argument("--graph", metavar="NAME", help="graph to ask (default: the service's own)")
    parser.add_argument(
        "--users",
        type=_steps,
        metavar="N,N,…",
        help="users at a time, step by step (default: 1,2,4,8)",
        default=usual.users,
    )
    parser.add_argument(
        "--seconds",
        type=float,
        metavar="S",
        help=f"length of a step (default: {usual.seconds:g})",
        default=usual.seconds,
    )
    parser.add_argument(
        "--think",
        type=float,
        metavar="S",
        help=f"mean seconds between an answer and the next question of a user (default: {usual.think:g})",
        default=usual.think,
    )
    parser.add_argument(
        "--timeout",
        type=float,
        metavar="S",
        help=f"seconds after which an answer has failed (default: {usual.timeout:g})",
        default=usual.timeout,
    )
    parser.add_argument(
        "--questions",
        type=Path,
        metavar="FILE",
        help="one question a line, or a dataset of `graph-agent eval` (.jsonl)",
    )
    parser.add_argument("--store", action="store_true", help="store the answers, as the chat page does")
    parser.add_argument(
        "--max-p95-first-token", type=float, metavar="S", help="fail if p95 of the first token of a step is longer"
    )
    parser.add_argument("--max-p95-total", type=float, metavar="S", help="fail if p95 of whole answers is longer")
    parser.add_argument(
        "--max-errors", metavar="N|P%", help="fail if more answers fail, or a larger share of a step: 10, or 0.5%%"
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FOLDER",
        help="where the report goes (default: load-report)",
        default=Path("load-report"),
    )
    parser.add_argument("--yes", action="store_true", help="do not ask before a load is sent to another machine")


def run(options: argparse.Namespace) -> int:
    """Run the command. The exit status is 1 if a limit was not kept, and 130 if Ctrl-C ended the test."""
    plan = Plan(
        users=options.users,
        seconds=options.seconds,
        think=options.think,
        timeout=options.timeout,
        questions=USUAL if options.questions is None else read_questions(options.questions),
    )
    gate = Gate(
        p95_first_text=options.max_p95_first_token,
        p95_total=options.max_p95_total,
        errors=None if options.max_errors is None else MostErrors.of(options.max_errors),
    )
    address = _address(options, settings_from(argparse.Namespace()))
    _allow_connections(max(plan.users))
    _prepare(options.out)
    if not (options.yes or address.is_here):
        _confirm(address, plan)
    began = datetime.now().astimezone().isoformat(timespec="seconds")
    progress = Progress(plan, sys.stderr)
    print(f"asking {address.shown} for {plan.total:g} s; Ctrl-C ends the test with a report", file=sys.stderr)
    result = asyncio.run(LoadTest(plan, address).run(progress))
    progress.end()
    report = Report(plan=plan, address=address, result=result, gate=gate, began=began, version=version("graph-agent"))
    # First on the terminal, which keeps it if the disk is full.
    for line in report.lines():
        print(line)
    _write(report, options.out)
    print(f"written to {options.out}; open {options.out / PAGE}")
    if result.stopped:
        return INTERRUPTED
    return 1 if report.failures else 0


def _steps(text: str) -> tuple[int, ...]:
    parts = [one.strip() for one in text.split(",")]
    if all(one.isascii() and one.isdecimal() and len(one) < 10 for one in parts):
        return tuple(map(int, parts))
    raise argparse.ArgumentTypeError(f"{text!r} is not a list of numbers; write it as 1,5,20")


def _address(options: argparse.Namespace, settings: Settings) -> Address:
    named = partial(Address, graph=options.graph, stored=options.store)
    if options.app is not None:
        base, headers = deployed_app.find(options.app)
        return named(url=url_of(base, path=OF_APP), headers=headers)
    url = url_of(options.url or f"http://127.0.0.1:{settings.port}")
    token = settings.bearer_token
    return named(url=url, headers=lambda: {"authorization": f"Bearer {token}"} if token else {})


def _confirm(address: Address, plan: Plan) -> None:
    """Ask before other people's machines and models have work.

    Raises:
        LoadRefused: the answer is no, or nobody is there to answer.
    """
    said = (
        f"this sends the questions of up to {max(plan.users)} users at a time for {plan.total:g} s to {address.host}, "
        "whose models and other users bear it"
    )
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise LoadRefused(f"{said}; if you may do that, add --yes")
    print(f"{said}. Go on? [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise LoadRefused("no load was sent")


def _allow_connections(users: int) -> None:
    """Raise the limit of open files as far as the system allows.

    Raises:
        LoadRefused: it does not allow one for each user.
    """
    try:
        import resource
    except ImportError:
        # Windows has no such limit.
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = users + SPARE_FILES
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise LoadRefused(f"{users} users need {needed} open files, and this system allows {hard}: raise `ulimit -Hn`")
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


def _prepare(folder: Path) -> None:
    """Make the folder of the report before the test, which would be lost without it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise LoadRefused(
            f"the report cannot be written to {folder} ({type(error).__name__}); give --out another folder"
        ) from None


def _write(report: Report, folder: Path) -> None:
    # Late: only now is a page needed.
    from graph_agent.load_testing.report_page import page

    try:
        (folder / FIGURES).write_text(json.dumps(report.as_json(), indent=1) + "\n", encoding="utf-8")
        (folder / PAGE).write_text(page(report), encoding="utf-8")
    except OSError as error:
        raise LoadRefused(f"the report could not be written to {folder} ({type(error).__name__})") from None
