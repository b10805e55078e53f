"""`/models`: the graphs, in the form of OpenAI's API, with what a chat page shows of each."""

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from graph_agent.errors import GraphNotLoaded, InvalidRequest, UnknownGraph
from graph_agent.protocol.wire_schemas import BOOLEAN, SECONDS, STRING, TEXT_OR_NULL, array_of, closed, const, enum
from graph_agent.serving.gate import Gate
from graph_agent.serving.operations import OF_GRAPHS, described
from graph_agent.serving.routes.answers import json_answer, route
from graph_agent.serving.routes.queries import check_query
from graph_agent.serving.routes.stored_responses import FAMILIES
from graph_agent.threads import run_in_service_thread

if TYPE_CHECKING:
    # Imports LangGraph, which takes seconds.
    from graph_agent.catalog.served_graphs import ServedGraphs

OWNER = "graph-agent"


TAG = "Models"

MODEL = closed(
    "Model",
    {
        "id": STRING,
        "object": const("model"),
        "created": SECONDS,
        "owned_by": const(OWNER),
        "name": STRING,
        "description": TEXT_OR_NULL,
        "example_questions": array_of(STRING),
        "accepts": closed(None, {"images": BOOLEAN, "files": BOOLEAN}),
        "default": BOOLEAN,
        "available": BOOLEAN,
    },
    says="A graph of the service.",
)

DRAWING = closed(
    "ModelGraph",
    {
        "object": const("model.graph"),
        "id": STRING,
        "complete": BOOLEAN,
        "nodes": array_of(
            closed(
                "GraphNode",
                {"id": STRING, "name": STRING, "kind": enum("start", "node", "end"), "group": TEXT_OR_NULL},
            )
        ),
        "edges": array_of(
            closed(
                "GraphEdge",
                {"source": STRING, "target": STRING, "conditional": BOOLEAN, "label": TEXT_OR_NULL},
            )
        ),
    },
)


class ModelRoutes:
    """The graphs of the app, as the models that a request may name."""

    def __init__(self, *, gate: Gate) -> None:
        self._gate = gate
        self._created = int(time.time())
        # For each name the graph that was drawn: after an edit, the name stands for another one.
        self._drawings: dict[str, tuple[Any, Mapping[str, Any]]] = {}

    def routes(self) -> list[Route]:
        """The routes of the app."""
        return [
            made
            for prefix in FAMILIES
            for made in (
                route(f"{prefix}/models", GET=self.list_all),
                route(f"{prefix}/models/{{id}}", GET=self.read),
                route(f"{prefix}/models/{{id}}/graph", GET=self.draw),
            )
        ]

    @described(
        TAG,
        closed("ModelList", {"object": const("list"), "data": array_of(MODEL)}),
        says="The graphs.",
        errors=(*OF_GRAPHS, InvalidRequest),
    )
    async def list_all(self, request: Request) -> Response:
        """Every graph, in the order of `langgraph.json`."""
        check_query(request)
        graphs = await self._graphs()
        return json_answer({"object": "list", "data": [self._body(graphs, name) for name in graphs.names]})

    @described(TAG, MODEL, says="The graph.", errors=(*OF_GRAPHS, InvalidRequest, UnknownGraph))
    async def read(self, request: Request) -> Response:
        """One graph."""
        check_query(request)
        graphs = await self._graphs()
        return json_answer(self._body(graphs, _name(request, graphs)))

    @described(TAG, DRAWING, says="The drawing.", errors=(*OF_GRAPHS, InvalidRequest, UnknownGraph, GraphNotLoaded))
    async def draw(self, request: Request) -> Response:
        """The nodes and edges of a graph."""
        check_query(request)
        graphs = await self._graphs()
        name = _name(request, graphs)
        graph = await graphs.get(name)
        drawn, drawing = self._drawings.get(name, (None, {}))
        if drawn is not graph:
            # Late: it is only needed by clients that draw.
            from graph_agent.catalog.drawing import drawing_of

            drawing = await run_in_service_thread(drawing_of, graph)
            self._drawings[name] = graph, drawing
        return json_answer({"object": "model.graph", "id": name, **drawing})

    async def _graphs(self) -> "ServedGraphs":
        graphs = (await self._gate.passed()).catalog
        await graphs.refresh()
        return graphs

    def _body(self, graphs: "ServedGraphs", name: str) -> Mapping[str, Any]:
        card = graphs.cards[name]
        return {
            "id": name,
            "object": "model",
            "created": self._created,
            "owned_by": OWNER,
            "name": card.title or name,
            "description": card.description,
            "example_questions": list(card.example_questions),
            "accepts": {"images": card.images, "files": card.files},
            "default": name == graphs.default,
            "available": name not in graphs.broken,
        }


def _name(request: Request, graphs: "ServedGraphs") -> str:
    name: str = request.path_params["id"]
    if name not in graphs.names:
        raise UnknownGraph(f"no graph has this name; known: {', '.join(graphs.names)}", param="model")
    return name
