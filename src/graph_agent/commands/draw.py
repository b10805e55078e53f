"""`graph-agent graph`: a graph as Mermaid text, and as letters or a picture where the package for it is installed.

Nothing is asked of the network; LangGraph's own default for pictures is a foreign site.
"""

import argparse
import asyncio
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from graph_agent.app_context import AppContext
from graph_agent.catalog.catalog import Catalog
from graph_agent.catalog.manifest import read_manifest
from graph_agent.commands.options import add_config, settings_from
from graph_agent.errors import CannotDraw, UnknownGraph
from graph_agent.settings import Settings

Form = Literal["mermaid", "ascii", "png"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which graph, and in which form."""
    parser.add_argument("name", metavar="NAME", help="a graph of langgraph.json")
    add_config(parser)
    parser.add_argument("--format", choices=("mermaid", "ascii", "png"), default="mermaid")
    parser.add_argument("--output", type=Path, metavar="FILE", help="where it is written; the terminal if not given")
    parser.add_argument("--xray", action="store_true", help="with what is inside of subgraphs")


def run(options: argparse.Namespace) -> int:
    """Run the command."""
    return draw(settings_from(options), options.name, form=options.format, output=options.output, xray=options.xray)


def draw(
    settings: Settings, name: str, *, form: Form = "mermaid", output: Path | None = None, xray: bool = False
) -> int:
    """Draw the graph `name` to `output`, else to the terminal; the exit status.

    Raises:
        UnknownGraph: `langgraph.json` names no such graph.
        GraphNotLoaded: it does not load.
        CannotDraw: the form needs a package that is missing, or a file to write to, or the file cannot be written.
    """
    if form == "png" and output is None:
        raise CannotDraw("a PNG needs a file: pass --output FILE", param="output")
    with AppContext(settings).entered():
        drawing = asyncio.run(drawing_of(settings.config, name, form=form, xray=xray))
    if output is None:
        sys.stdout.write(drawing.decode())
        return 0
    try:
        output.write_bytes(drawing)
    except OSError as error:
        raise CannotDraw(f"{output} cannot be written ({type(error).__name__})", param="output") from None
    return 0


async def drawing_of(config: Path, name: str, *, form: Form = "mermaid", xray: bool = False) -> bytes:
    """The graph `name` of the manifest `config`; text is UTF-8. With `xray`, what is inside of its subgraphs too.

    Raises: as `draw`.
    """
    specs = read_manifest(config)
    wanted = [spec for spec in specs if spec.name == name]
    if not wanted:
        raise UnknownGraph(f"no graph named {name!r}; known: {', '.join(spec.name for spec in specs)}", param="name")
    catalog = Catalog(wanted)
    try:
        await catalog.open()
        shape = (await catalog.get(name)).get_graph(xray=xray)
        return FORMS[form](shape)
    finally:
        await catalog.aclose()


def _mermaid(shape: Any) -> bytes:
    return str(shape.draw_mermaid()).encode()


def _ascii(shape: Any) -> bytes:
    try:
        return f"{shape.draw_ascii()}\n".encode()
    except ImportError:
        raise _missing("ascii", "grandalf") from None


def _png(shape: Any) -> bytes:
    try:
        return bytes(shape.draw_png())
    except ImportError:
        # Its wheels hold Graphviz itself.
        raise _missing("png", "pygraphviz") from None


def _missing(form: str, package: str) -> CannotDraw:
    return CannotDraw(
        f"--format {form} needs {package}: pip install {package}; --format mermaid needs nothing",
        param="format",
    )


FORMS: dict[str, Callable[[Any], bytes]] = {"mermaid": _mermaid, "ascii": _ascii, "png": _png}
