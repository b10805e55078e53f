"""Waiting for the platform, which does one thing to an app at a time: what it is still at, and when to call again."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from graph_agent.errors import DeployFailed

if TYPE_CHECKING:
    from databricks.sdk.service.apps import App, AppDeployment

Say = Callable[[str], None]
Answer = TypeVar("Answer")

FIRST_PAUSE = 0.25
LONGEST_PAUSE = 10.0
"""Seconds between two looks."""

PASSING = ("STARTING", "STOPPING", "UPDATING", "DELETING")
"""States of an app's compute that become another by themselves."""

ASLEEP = ("STOPPED", "ERROR")
"""States of an app's compute that a start ends."""

BUSY = ("active deployment in progress", "pending deployment in progress", "another operation is in progress")
"""What the platform refuses a call with that it takes a little later."""


class PendingWork(NamedTuple):
    """Something the platform is still at."""

    what: str
    """As in `waiting for …`."""

    still: str
    """As in `… after 20 minutes`."""

    warning: str = ""
    """What may come of it all the same."""


def wait_for(look: Callable[[], PendingWork | None], *, seconds: float, say: Say) -> None:
    """Look again and again until there is nothing to wait for; each thing that is waited for is told once.

    Raises:
        DeployFailed: there still is after so many seconds.
    """
    ends, pause = time.monotonic() + seconds, FIRST_PAUSE
    said: set[str] = set()
    while (awaited := look()) is not None:
        if awaited.what not in said:
            said.add(awaited.what)
            say(f"waiting for {awaited.what}")
        if time.monotonic() >= ends:
            raise DeployFailed(
                f"{awaited.still} after another {seconds:g} s{awaited.warning}; once it has ended, deploy again"
            )
        time.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE)


def call_when_free(call: Callable[[], Answer], *, seconds: float, say: Say) -> Answer:
    """Call, and call again while the platform refuses because it is at something else.

    Raises:
        DatabricksError: it refuses for another reason, or still does after so many seconds.
    """
    from databricks.sdk.errors.base import DatabricksError

    ends, pause = time.monotonic() + seconds, FIRST_PAUSE
    while True:
        try:
            return call()
        except DatabricksError as error:
            if not any(words in str(error) for words in BUSY) or time.monotonic() >= ends:
                raise
        if pause == FIRST_PAUSE:
            say("the platform is at something else with this app; trying again")
        time.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE)


def compute_state(app: "App") -> str:
    """The state of the app's compute; empty where the platform does not say."""
    status = app.compute_status
    return status.state.value if status is not None and status.state is not None else ""


def pending_work(app: "App") -> PendingWork | None:
    """What keeps the platform from taking a call that changes this app; `None` when it would take one."""
    state = compute_state(app)
    if state in PASSING:
        is_now = f"the compute of {app.name}"
        return PendingWork(f"{is_now}, which is {state.lower()}", f"{is_now} was still {state.lower()}")
    for one in (app.pending_deployment, app.active_deployment):
        if one is not None and _under_way(one, pending=one is app.pending_deployment):
            name = f"deployment {one.deployment_id}"
            return PendingWork(f"{name} to end", f"{name} was still under way", " and may yet go live")
    return None


def _under_way(deployment: "AppDeployment", *, pending: bool) -> bool:
    status = deployment.status
    if status is None or status.state is None:
        return pending
    return status.state.value == "IN_PROGRESS"
