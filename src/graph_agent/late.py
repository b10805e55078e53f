"""Heavy packages, imported when first needed and by one thread at a time."""

import threading

IMPORTING = threading.RLock()
"""Hold it around every late import of MLflow and what stands on it.

MLflow's modules import each other in circles: two threads that begin at different ends get half-made modules, as
Python breaks the deadlock between their import locks by handing them out.
"""
