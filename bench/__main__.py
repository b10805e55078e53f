"""`python -m bench`: serve one scripted graph in several servers and compare what that costs.

Exit status 0 whatever the figures are: they are figures, not tests. 1 if a row broke.
"""

import argparse
import os
import signal
import sys
import time

from bench.contest import Contest
from bench.figures import FULL, QUICK
from bench.processes import ServerBroken, servers
from bench.rows import FLOOR, ROWS
from bench.table import report
from bench.tracking import start_tracking


def main() -> int:
    """The exit status."""
    options = _options()
    plan = QUICK if options.quick else FULL
    rows = [row for row in ROWS if row.name in options.rows or row.name == FLOOR]
    load = os.getloadavg()[0]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        with servers() as running:
            began = time.perf_counter()
            print("starting a tracking server and the rows one by one", file=sys.stderr)
            tracking = start_tracking(running) if any(row.traces for row in rows) else None
            results = Contest(plan, running, tracking, began=began).run(rows)
    except KeyboardInterrupt:
        return 130
    except ServerBroken as broken:
        print(f"the tracking server broke: {broken}", file=sys.stderr)
        return 1
    print(report(results, plan, load=load))
    return int(any(result.broken for result in results))


def _options() -> argparse.Namespace:
    names = [row.name for row in ROWS]
    parser = argparse.ArgumentParser(prog="python -m bench", description="Compare what serving one graph costs.")
    parser.add_argument("--quick", action="store_true", help="fewer, shorter rounds")
    parser.add_argument("--rows", default=names, type=_names, metavar="A,B", help=f"of: {', '.join(names)}")
    return parser.parse_args()


def _names(text: str) -> list[str]:
    names = text.split(",")
    unknown = set(names) - {row.name for row in ROWS}
    if unknown:
        raise argparse.ArgumentTypeError(f"no such row: {', '.join(sorted(unknown))}")
    return names


if __name__ == "__main__":
    sys.exit(main())
