"""`graph-agent graph`: draw a graph as Mermaid text, or as ASCII art or a PNG if the package for it is installed.

It needs no network. LangGraph's own default for pictures sends the graph to a public website.
"""

import argparse
import asyncio
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from graph_agent.app_context import AppContext
from graph_agent.catalog.catalog import Catalog
from graph_agent.catalog.manifest import check_graph_name, read_manifest
from graph_agent.commands.options import add_config, settings_from
from graph_agent.errors import CannotDraw
from graph_agent.settings import Settings

Form = Literal["mermaid", "ascii", "png"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the graph, and the form of the drawing."""
    parser.add_argument("name", metavar="NAME", help="graph of langgraph.json to draw")
    add_config(parser)
    parser.add_argument(
        "--format",
        choices=("mermaid", "ascii", "png"),
        default="mermaid",
        help="form of the drawing (default: mermaid)",
    )
    parser.add_argument("--output", type=Path, metavar="FILE", help="file to write (default: the terminal)")
    parser.add_argument("--xray", action="store_true", help="also draw the inside of subgraphs")


def run(options: argparse.Namespace) -> int:
    """Run the command."""
    return draw(settings_from(options), options.name, form=options.format, output=options.output, xray=options.xray)


def draw(
    settings: Settings, name: str, *, form: Form = "mermaid", output: Path | None = None, xray: bool = False
) -> int:
    """Draw the graph `name` to `output`, or to the terminal. Returns the exit status.

    Raises:
        UnknownGraph: `langgraph.json` has no graph with that name.
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
    """The drawing of the graph `name` in the manifest `config`. Text is UTF-8. With `xray`, subgraphs are drawn too.

    Raises:
        UnknownGraph, GraphNotLoaded, CannotDraw: as `draw`.
    """
    specs = read_manifest(config)
    check_graph_name(name, specs)
    # Load only this graph, so that a broken one elsewhere does not prevent the drawing.
    catalog = Catalog([spec for spec in specs if spec.name == name])
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
        # pygraphviz, because its wheels include Graphviz itself.
        raise _missing("png", "pygraphviz") from None


def _missing(form: str, package: str) -> CannotDraw:
    return CannotDraw(
        f"--format {form} needs the package {package}: run `pip install {package}`, or use --format mermaid",
        param="format",
    )


FORMS: dict[str, Callable[[Any], bytes]] = {"mermaid": _mermaid, "ascii": _ascii, "png": _png}
