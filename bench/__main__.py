"""`python -m bench`: serves one scripted graph with several servers and compares their overhead.

The exit status is 0 whatever the figures are, because they are figures and not tests. It is 1 if a row failed.
"""

import argparse
import json
import os
import signal
import sys
import time
from pathlib import Path

from bench.client import StreamBroken
from bench.contest import Contest
from bench.durable import FULL as MANY
from bench.durable import QUICK as FEW
from bench.durable import durable_report, measure_durable
from bench.figures import FULL, QUICK
from bench.paced import COUNTS, QUICK_COUNTS, measure_paced, paced_figures, paced_report, plot
from bench.postgres import postgres_url
from bench.processes import ServerBroken, processor_ticks, servers, share_taken
from bench.rows import FLOOR, ROWS
from bench.starting import measure_starts, starts_figures, starts_report
from bench.table import figures, report
from bench.thread import POINTS, QUICK_POINTS, measure, thread_report
from bench.tracking import start_tracking


def main() -> int:
    """Run the benchmark and return the exit status."""
    options = _options()
    plan = QUICK if options.quick else FULL
    # Every other row is compared with the floor, so it always runs.
    rows = [row for row in ROWS if row.name in options.rows or row.name == FLOOR]
    # Taken before anything starts. A busy machine makes the figures worthless.
    load = os.getloadavg()[0]
    broken = False
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        with servers() as running, postgres_url() as postgres:
            rows = [row for row in rows if postgres or not row.needs_postgres]
            reasons = {row.label: row.prepare() for row in rows}
            skipped = [f"{label}: skipped, because {why}" for label, why in reasons.items() if why is not None]
            rows = [row for row in rows if reasons[row.label] is None]
            began, ticks = time.perf_counter(), processor_ticks()
            print("starting a tracking server and the rows one by one", file=sys.stderr)
            tracking = start_tracking(running) if any(row.traces for row in rows) else None
            results = Contest(plan, running, tracking, began=began, postgres=postgres).run(rows)
            taken = share_taken(ticks)
            print("\n".join([report(results, plan, load=load, taken=taken), *skipped]))
            paced = []
            if options.paced:
                streamed = measure_paced(running, counts=QUICK_COUNTS if options.quick else COUNTS)
                print("\n" + paced_report(streamed))
                paced = paced_figures(streamed)
            starts = []
            if options.starts:
                starts = measure_starts(running)
                print("\n" + starts_report(starts))
            if options.plot is not None and paced:
                options.plot.write_text(plot(paced), encoding="utf-8")
            if options.json is not None:
                found = figures(results, plan, load=load, taken=taken, paced=paced, starts=starts_figures(starts))
                text = json.dumps(found, indent=1)
                options.json.write_text(text + "\n", encoding="utf-8")
            if options.turns:
                points = QUICK_POINTS if options.quick else POINTS
                conversations = measure(running, postgres, points=points)
                print("\n" + thread_report(conversations, postgres=postgres is not None))
                broken = any(one.broken for one in conversations)
            if options.durable:
                amount = FEW if options.quick else MANY
                stores = measure_durable(running, postgres, amount=amount)
                print("\n" + durable_report(stores, amount=amount))
                broken = broken or any(one.broken for one in stores)
    except KeyboardInterrupt:
        return 130
    except (ServerBroken, StreamBroken) as failure:
        print(f"a server failed: {failure}", file=sys.stderr)
        return 1
    return int(broken or any(result.broken for result in results))


def _options() -> argparse.Namespace:
    names = [row.name for row in ROWS]
    parser = argparse.ArgumentParser(prog="python -m bench", description="Compare the overhead of servers.")
    parser.add_argument("--quick", action="store_true", help="fewer, shorter rounds")
    parser.add_argument("--rows", default=names, type=_names, metavar="A,B", help=f"one or more of: {', '.join(names)}")
    parser.add_argument(
        "--turns", action=argparse.BooleanOptionalAction, default=True, help="also let one conversation grow long"
    )
    parser.add_argument(
        "--durable", action=argparse.BooleanOptionalAction, default=True, help="also measure runs in the background"
    )
    parser.add_argument(
        "--paced", action=argparse.BooleanOptionalAction, default=True, help="also measure streams as models write them"
    )
    parser.add_argument(
        "--starts", action=argparse.BooleanOptionalAction, default=True, help="also measure what a start costs"
    )
    parser.add_argument("--plot", type=Path, metavar="FILE", help="also draw these as an SVG file")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures of the rows to a file")
    return parser.parse_args()


def _names(text: str) -> list[str]:
    names = text.split(",")
    unknown = set(names) - {row.name for row in ROWS}
    if unknown:
        raise argparse.ArgumentTypeError(f"no such row: {', '.join(sorted(unknown))}")
    return names


if __name__ == "__main__":
    sys.exit(main())
