"""Heavy packages, imported when first needed and by one thread at a time.

A thread that imports beside others may stop the process for good: Python calls its finders with the lock of all imports
held, and such a finder may want a lock whose holder is importing too (setuptools' wants logging's, which is held while
logging is configured). So whatever holds a lock of its own and imports, such as `configure_logging`, comes before the
first such thread, a server's own thread imports nothing while graphs load, and threads hold `IMPORTING`.
"""

import os
import threading

IMPORTING = threading.RLock()
"""Hold it around every late import that a thread beside the main one makes; never around a graph's own file, which may
wait for another thread.

MLflow's modules import each other in circles: two threads that begin at different ends get half-made modules, as
Python breaks the deadlock between their import locks by handing them out.
"""


def without_usage_collection() -> None:
    """Keep MLflow from sending usage data to its makers, unless the environment says otherwise.

    Before MLflow is imported, and only in processes that are graph-agent's own: it looks once.
    """
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
