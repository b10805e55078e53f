"""The workspace folder, the Apps API and a deployed app of a stand-in workspace."""

import json
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

DATABASE = "projects/shop/branches/main/databases/db-1"
"""The only Lakebase database."""

TICKS = count(1_700_000_000_000)
"""Each write gets a later time than the previous one, as in a real workspace."""


def error(status: int, code: str, message: str = "told to") -> JSONResponse:
    return JSONResponse({"error_code": code, "message": message}, status)


@dataclass
class Apps:
    """The content of the workspace. `outcomes` are the states of the next deployments. The default is SUCCEEDED.

    The outcome IN_PROGRESS never changes. LATE becomes SUCCEEDED after the app was polled `looks` times.

    This imitates the platform. An app that starts repeats its last deployment, which is only visible some polls later.
    A stopped app has no active deployment. Only one operation runs at a time. The scopes of users' tokens change with
    the next start.
    """

    url: str = "http://127.0.0.1:9"
    """The address of every deployed app."""

    files: dict[str, tuple[bytes, int]] = field(default_factory=dict)
    folders: set[str] = field(default_factory=set)
    apps: dict[str, dict[str, Any]] = field(default_factory=dict)
    permissions: dict[str, list[dict[str, str]]] = field(default_factory=dict)
    outcomes: list[str] = field(default_factory=list)
    deployments: dict[str, dict[str, Any]] = field(default_factory=dict)
    snapshots: dict[str, dict[str, bytes]] = field(default_factory=dict)
    """The files of each deployment."""

    short_paths: bool = False
    """Whether the paths of a listing do not start with `/Workspace`."""

    looks: int = 3

    clock: bool = True
    """Whether a listing has the times of changes."""

    to_come: dict[str, list[Mapping[str, Any]]] = field(default_factory=dict)
    """The changes that the next polls of an app see, one mapping for each poll. `None` removes a value."""

    of_a_start: Sequence[Mapping[str, Any]] | None = None
    """The changes after a start. `None` means the usual changes."""

    why: str = "m"
    """The message of a failed deployment."""

    refusals: list[str] = field(default_factory=list)
    """The messages with which the next calls that change an app are refused."""

    forwarding: bool = True
    """Whether the workspace forwards the tokens of users to apps."""

    privileges: dict[str, dict[str, list[str]]] | None = None
    """The privileges on each catalog or schema, by its name. `None` if they are not visible."""

    withheld: set[str] = field(default_factory=set)
    """Scopes that users' tokens never get."""

    _starting: set[str] = field(default_factory=set)
    """Apps that are starting and are not deployed yet."""

    def routes(self) -> list[Route]:
        """Return all routes for `stand_in(more=…)`."""
        app = "/api/2.0/apps/{name}"
        return [
            Route("/api/2.0/workspace/mkdirs", self._mkdirs, methods=["POST"]),
            Route("/api/2.0/workspace/import", self._import, methods=["POST"]),
            Route("/api/2.0/workspace/export", self._export),
            Route("/api/2.0/workspace/list", self._list),
            Route("/api/2.0/workspace/delete", self._delete, methods=["POST"]),
            Route("/api/2.0/mlflow/experiments/get", self._experiment),
            Route("/api/2.0/postgres/{path:path}", self._database),
            Route("/api/2.0/apps", self._create, methods=["POST"]),
            Route(app, self._app, methods=["GET"]),
            Route(f"{app}/update", self._update, methods=["POST", "GET"]),
            Route(f"{app}/start", self._start, methods=["POST"]),
            Route(f"{app}/stop", self._stop, methods=["POST"]),
            Route(f"{app}/deployments", self._deploy, methods=["POST"]),
            Route(f"{app}/deployments", self._deployments, methods=["GET"]),
            Route(f"{app}/deployments/{{deployment}}", self._deployment),
            Route("/api/2.1/unity-catalog/effective-permissions/{kind}/{name}", self._effective),
            Route("/api/2.0/permissions/apps/{name}", self._permissions, methods=["GET", "PUT"]),
        ]

    def below(self, folder: str) -> dict[str, bytes]:
        """Return the files of a folder by their path inside it."""
        prefix = f"{folder}/"
        return {path[len(prefix) :]: one[0] for path, one in self.files.items() if path.startswith(prefix)}

    async def _mkdirs(self, request: Request) -> Response:
        folder = (await request.json())["path"]
        while folder:
            self.folders.add(folder)
            folder = folder.rpartition("/")[0]
        return JSONResponse({})

    async def _import(self, request: Request) -> Response:
        parts = multipart(request.headers["content-type"], await request.body())
        path = parts["path"].decode()
        if path.rpartition("/")[0] not in self.folders:
            return error(404, "RESOURCE_DOES_NOT_EXIST", "The parent folder does not exist.")
        if path in self.files and parts.get("overwrite") != b"true":
            return error(400, "RESOURCE_ALREADY_EXISTS")
        assert parts["format"] == b"RAW"
        self.files[path] = parts["content"], next(TICKS)
        return JSONResponse({})

    async def _export(self, request: Request) -> Response:
        path = request.query_params["path"]
        if path not in self.files:
            return error(404, "RESOURCE_DOES_NOT_EXIST")
        return Response(self.files[path][0], media_type="application/octet-stream")

    async def _list(self, request: Request) -> Response:
        folder = "/Workspace" + request.query_params["path"].removeprefix("/Workspace")
        if folder not in self.folders:
            return error(404, "RESOURCE_DOES_NOT_EXIST")
        objects: list[dict[str, Any]] = [
            {"path": one, "object_type": "DIRECTORY"} for one in sorted(self.folders) if parent(one) == folder
        ]
        objects += [
            {"path": path, "object_type": "FILE", "size": len(content), **({"modified_at": at} if self.clock else {})}
            for path, (content, at) in sorted(self.files.items())
            if parent(path) == folder
        ]
        if self.short_paths:
            objects = [{**one, "path": one["path"].removeprefix("/Workspace")} for one in objects]
        return JSONResponse({"objects": objects})

    async def _delete(self, request: Request) -> Response:
        body = await request.json()
        path, inside = body["path"], f"{body['path']}/"
        if path not in self.files and path not in self.folders:
            return error(404, "RESOURCE_DOES_NOT_EXIST")
        self.files = {one: kept for one, kept in self.files.items() if one != path and not one.startswith(inside)}
        self.folders = {one for one in self.folders if one != path and not one.startswith(inside)}
        return JSONResponse({})

    async def _experiment(self, request: Request) -> Response:
        experiment = request.query_params["experiment_id"]
        if experiment != "123":
            return error(404, "RESOURCE_DOES_NOT_EXIST")
        return JSONResponse({"experiment": {"experiment_id": experiment, "name": "e", "lifecycle_stage": "active"}})

    async def _database(self, request: Request) -> Response:
        name = request.path_params["path"]
        if name != DATABASE:
            return error(404, "RESOURCE_DOES_NOT_EXIST")
        return JSONResponse({"name": name})

    async def _create(self, request: Request) -> Response:
        body = await request.json()
        if (why := self._refused(body)) is not None:
            return why
        if body["name"] in self.apps:
            return error(409, "ALREADY_EXISTS", f"An app with the same name already exists: {body['name']}.")
        self.apps[body["name"]] = {
            **body,
            "id": "app-1",
            "url": self.url,
            "service_principal_client_id": "11111111-2222-3333-4444-555555555555",
            "compute_status": {"state": "ACTIVE"},
            "app_status": {"state": "UNAVAILABLE"},
            "effective_user_api_scopes": body.get("user_api_scopes", []),
        }
        return JSONResponse(self.apps[body["name"]])

    async def _app(self, request: Request) -> Response:
        name = request.path_params["name"]
        app = self.apps.get(name)
        if app is None:
            return error(404, "RESOURCE_DOES_NOT_EXIST")
        pending = app.get("pending_deployment")
        if pending and pending["outcome"] == "LATE":
            self.looks -= 1
            if self.looks <= 0:
                self._live(app, pending["deployment_id"])
        if self.to_come.get(name):
            self._change(name, self.to_come[name].pop(0))
        if name not in self.apps:
            return error(404, "RESOURCE_DOES_NOT_EXIST")
        return JSONResponse(self.apps[name])

    def _change(self, name: str, fields: Mapping[str, Any]) -> None:
        if fields.get("gone"):
            del self.apps[name]
            return
        if live := fields.get("live"):
            self._live(self.apps[name], live)
        changed = {**self.apps[name], **{key: value for key, value in fields.items() if key not in ("gone", "live")}}
        self.apps[name] = {key: value for key, value in changed.items() if value is not None}

    async def _update(self, request: Request) -> Response:
        name = request.path_params["name"]
        if request.method == "POST":
            body = await request.json()
            if (why := self._refused(body["app"], name)) is not None:
                return why
            masked = body["update_mask"].split(",")
            if unknown := set(masked) - CHANGEABLE:
                return error(400, "INVALID_PARAMETER_VALUE", f"Invalid update mask: {', '.join(sorted(unknown))}.")
            # Fields that are in the mask and not in the body are cleared. Other fields do not change.
            self._change(name, {one: body["app"].get(one) for one in masked})
        return JSONResponse({"status": {"state": "SUCCEEDED"}})

    async def _start(self, request: Request) -> Response:
        name = request.path_params["name"]
        app = self.apps[name]
        if (why := self._refused({}, name)) is not None:
            return why
        if app["compute_status"]["state"] not in ("STOPPED", "ERROR"):
            return error(400, "BAD_REQUEST", f"Cannot start app {name} as its compute is not stopped.")
        app["compute_status"] = {"state": "STARTING"}
        coming: list[Mapping[str, Any]] = [{}]
        scopes = [one for one in app.get("user_api_scopes", []) if one not in self.withheld]
        active = {"compute_status": {"state": "ACTIVE"}, "effective_user_api_scopes": scopes}
        last = self._last(name)
        if last is None:
            coming += [active]
        else:
            again = f"d{len(self.deployments) + 1}"
            under_way = {"state": "IN_PROGRESS", "message": "m"}
            self.deployments[again] = {**last, "deployment_id": again, "status": under_way}
            self.snapshots[again] = self.snapshots.get(last["deployment_id"], {})
            pending = {**self.deployments[again], "outcome": "of the start"}
            # On the platform too, the app looks ready for one poll before its deployment shows.
            coming += [active, {"pending_deployment": pending}, {}, {"live": again}]
            self._starting.add(name)
        self.to_come[name] = coming if self.of_a_start is None else list(self.of_a_start)
        return JSONResponse(app)

    async def _stop(self, request: Request) -> Response:
        name = request.path_params["name"]
        if (why := self._refused({}, name)) is not None:
            return why
        app = self.apps[name]
        app["compute_status"] = {"state": "STOPPING"}
        stopped = {"compute_status": {"state": "STOPPED"}, "app_status": {"state": "UNAVAILABLE"}}
        self.to_come[name] = [{}, {**stopped, "active_deployment": None}]
        return JSONResponse(app)

    def stop(self, name: str) -> None:
        """Stop the app, as if it had been stopped long ago."""
        self._change(name, {"compute_status": {"state": "STOPPED"}, "active_deployment": None})

    def _last(self, name: str) -> dict[str, Any] | None:
        """Return the app's last successful deployment."""
        of = [one for one in self.deployments.values() if one["app"] == name]
        done = [one for one in of if one["status"]["state"] == "SUCCEEDED"]
        return done[-1] if done else None

    def _refused(self, body: Mapping[str, Any], name: str = "") -> Response | None:
        if self.refusals:
            return error(400, "BAD_REQUEST", self.refusals.pop(0))
        if body.get("user_api_scopes") and not self.forwarding:
            return error(400, "INVALID_PARAMETER_VALUE", "Databricks Apps - user token passthrough not enabled.")
        state = self.apps[name]["compute_status"]["state"] if name else ""
        if state in ("STARTING", "STOPPING", "UPDATING", "DELETING"):
            return error(409, "RESOURCE_CONFLICT", f"Cannot update app {name} as another operation is in progress.")
        return None

    async def _deploy(self, request: Request) -> Response:
        of, body = request.path_params["name"], await request.json()
        app = self.apps[of]
        if self.refusals:
            return error(400, "BAD_REQUEST", self.refusals.pop(0))
        if app["compute_status"]["state"] != "ACTIVE":
            return error(400, "BAD_REQUEST", "The app's compute is not running.")
        if app.get("pending_deployment") or of in self._starting:
            return error(400, "BAD_REQUEST", f"Cannot deploy app {of} as there is an active deployment in progress.")
        name = f"d{len(self.deployments) + 1}"
        outcome = self.outcomes.pop(0) if self.outcomes else "SUCCEEDED"
        under_way = {"state": "IN_PROGRESS", "message": "m"}
        self.deployments[name] = {**body, "app": of, "deployment_id": name, "status": under_way}
        self.snapshots[name] = self.below(body["source_code_path"])
        if outcome in ("IN_PROGRESS", "LATE"):
            app["pending_deployment"] = {**self.deployments[name], "outcome": outcome}
        elif outcome == "SUCCEEDED":
            self._live(app, name)
        else:
            self.deployments[name]["status"] = {"state": outcome, "message": self.why}
        return JSONResponse({**self.deployments[name], "status": under_way})

    async def _deployments(self, request: Request) -> Response:
        name = request.path_params["name"]
        newest = [one for one in reversed(self.deployments.values()) if one["app"] == name]
        return JSONResponse({"app_deployments": newest})

    def _live(self, app: dict[str, Any], name: str) -> None:
        app.pop("pending_deployment", None)
        self._starting.discard(app["name"])
        self.deployments[name]["status"] = {"state": "SUCCEEDED", "message": "m"}
        app["active_deployment"] = self.deployments[name]
        app["app_status"] = {"state": "RUNNING"}

    async def _deployment(self, request: Request) -> Response:
        return JSONResponse(self.deployments[request.path_params["deployment"]])

    async def _effective(self, request: Request) -> Response:
        if self.privileges is None:
            return error(403, "PERMISSION_DENIED")
        held = self.privileges.get(request.path_params["name"], {})
        return JSONResponse(
            {
                "privilege_assignments": [
                    {"principal": principal, "privileges": [{"privilege": one} for one in names]}
                    for principal, names in held.items()
                ]
            }
        )

    async def _permissions(self, request: Request) -> Response:
        name = request.path_params["name"]
        if request.method == "PUT":
            self.permissions[name] = (await request.json())["access_control_list"]
        listed = [
            {
                **{key: value for key, value in one.items() if key != "permission_level"},
                "all_permissions": [{"permission_level": one["permission_level"], "inherited": False}],
            }
            for one in self.permissions.get(name, [])
        ]
        inherited = {"permission_level": "CAN_MANAGE", "inherited": True, "inherited_from_object": ["/apps/"]}
        listed.append({"group_name": "admins", "all_permissions": [inherited]})
        return JSONResponse({"object_id": f"/apps/{name}", "access_control_list": listed})


CHANGEABLE = {
    *("description", "budget_policy_id", "usage_policy_id", "resources", "user_api_scopes", "compute_size"),
    *("compute_min_instances", "compute_max_instances", "telemetry_export_destinations"),
}
"""Fields that an update mask may contain, according to a workspace of 2026."""


def parent(path: str) -> str:
    return path.rpartition("/")[0]


def multipart(content_type: str, body: bytes) -> dict[str, bytes]:
    """Return the parts of a form by their names."""
    found = {}
    boundary = b"--" + re.search(r"boundary=([^;]+)", content_type)[1].strip('"').encode()  # type: ignore[index]
    for piece in body.split(boundary)[1:-1]:
        head, _, content = piece.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        name = re.search(rb'name="([^"]+)"', head)
        assert name is not None
        found[name[1].decode()] = content.removesuffix(b"\r\n")
    return found


@dataclass
class DeployedApp:
    """A deployed app behind its proxy. `tokens` are the tokens of the requests. They only count below `prefix`.

    `answers` are used in order, and the last one is repeated. An answer is a list of event types to stream, a status,
    or 0 to cut the connection.
    """

    answers: list[Sequence[str] | int]
    tokens: list[str] = field(default_factory=list)
    questions: list[Any] = field(default_factory=list)
    prefix: str = "/api/"
    log: Any = None
    """The proxy's answer for the app's log. `None` if there is no log."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        request = Request(scope, receive)
        self.tokens.append(request.headers.get("authorization", ""))
        await (await self._answer(request))(scope, receive, send)

    async def _answer(self, request: Request) -> ASGIApp:
        if request.url.path == "/logz/batch" and self.log is not None:
            return JSONResponse(self.log)
        if not request.url.path.startswith(self.prefix):
            # The proxy redirects browsers to a login page.
            return PlainTextResponse("", 302, {"location": "/login"})
        self.questions.append(await request.json())
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if answer == 0:
            # The proxy cuts the connection.
            return cut
        if isinstance(answer, int):
            return PlainTextResponse("no", answer)
        return StreamingResponse(events(answer), media_type="text/event-stream")


async def cut(scope: Scope, receive: Receive, send: Send) -> None:
    """Send an answer that starts and never ends."""
    headers = [(b"content-type", b"text/event-stream"), (b"content-length", b"999")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"data: {}\n\n", "more_body": True})


ANSWERS = ("response.created", "response.output_text.delta", "response.completed")
FAILS = ("response.created", "response.output_text.delta", "error", "response.failed")


async def events(types: Sequence[str]) -> AsyncIterator[bytes]:
    for kind in types:
        event: dict[str, Any] = {"type": kind}
        match kind:
            case "response.created":
                event["response"] = {"model": "g"}
            case "response.output_text.delta":
                event["delta"] = "Hello."
            case "error":
                event["message"] = "dapi-secret in a message"
            case "response.failed":
                event["response"] = {"error": {"code": "model_failed", "message": "dapi-secret in a message"}}
            case "response.completed":
                event["response"] = {"output": []}
        yield f"data: {json.dumps(event)}\n\n".encode()
