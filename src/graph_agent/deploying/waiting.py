"""Waits for the platform, which does one operation on an app at a time: what is pending, and when to call again."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from graph_agent.errors import DeployFailed

if TYPE_CHECKING:
    from databricks.sdk.service.apps import App, AppDeployment

Say = Callable[[str], None]
"""Prints one line of progress."""

Answer = TypeVar("Answer")

FIRST_PAUSE = 0.25
LONGEST_PAUSE = 10.0
"""Seconds between two polls."""

PASSING = ("STARTING", "STOPPING", "UPDATING", "DELETING")
"""States of an app's compute that end by themselves."""

ASLEEP = ("STOPPED", "ERROR")
"""States of an app's compute that end with a start."""

BUSY = ("active deployment in progress", "pending deployment in progress", "another operation is in progress")
"""Messages of refusals that end by themselves. They have no error code of their own."""


class PendingWork(NamedTuple):
    """An operation of the platform that has not ended."""

    what: str
    """Its text after `waiting for`."""

    still: str
    """Its text before `after 20 minutes`."""

    warning: str = ""
    """A possible effect of the operation after the wait is given up."""


def wait_for(look: Callable[[], PendingWork | None], *, seconds: float, say: Say) -> None:
    """Poll `look` until nothing is pending. Each pending operation is reported once.

    Raises:
        DeployFailed: something is still pending after so many seconds.
    """
    ends, pause = time.monotonic() + seconds, FIRST_PAUSE
    said: set[str] = set()
    while (awaited := look()) is not None:
        if awaited.what not in said:
            said.add(awaited.what)
            say(f"waiting for {awaited.what}")
        if time.monotonic() >= ends:
            raise DeployFailed(
                f"{awaited.still} after another {seconds:g} s{awaited.warning}; deploy again when it has ended"
            )
        time.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE)


def call_when_free(call: Callable[[], Answer], *, seconds: float, say: Say) -> Answer:
    """Call, and retry while the platform refuses because another operation is in progress.

    Raises:
        DatabricksError: it refuses for another reason, or still refuses after so many seconds.
    """
    from databricks.sdk.errors.base import DatabricksError

    ends, pause = time.monotonic() + seconds, FIRST_PAUSE
    while True:
        try:
            return call()
        except DatabricksError as error:
            if not any(words in str(error) for words in BUSY) or time.monotonic() >= ends:
                raise
        # Reported once, at the first refusal.
        if pause == FIRST_PAUSE:
            say("the platform is busy with another operation on this app; trying again")
        time.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE)


def compute_state(app: "App") -> str:
    """The state of the app's compute. Empty if the platform does not report one."""
    status = app.compute_status
    return status.state.value if status is not None and status.state is not None else ""


def pending_work(app: "App") -> PendingWork | None:
    """The operation that makes the platform refuse changes to this app. `None` if it accepts changes."""
    state = compute_state(app)
    if state in PASSING:
        is_now = f"the compute of {app.name}"
        return PendingWork(f"{is_now}, which is {state.lower()}", f"{is_now} was still {state.lower()}")
    for one in (app.pending_deployment, app.active_deployment):
        if one is not None and _under_way(one, pending=one is app.pending_deployment):
            name = f"deployment {one.deployment_id}"
            return PendingWork(f"{name} to end", f"{name} was still in progress", " and may still go live")
    return None


def _under_way(deployment: "AppDeployment", *, pending: bool) -> bool:
    status = deployment.status
    if status is None or status.state is None:
        # Without a state, a pending deployment has not ended, and an active one has.
        return pending
    return status.state.value == "IN_PROGRESS"
