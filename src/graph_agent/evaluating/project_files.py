"""Python files that a project may bring for its evaluations, imported by their path."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

from graph_agent.errors import AgentError
from graph_agent.evaluating.errors import BadProjectFile
from graph_agent.foreign_errors import describe_error


def found(folder: Path, name: str) -> Path | None:
    """`NAME.py` or the package `NAME` in `folder`; None if there is neither."""
    files = (folder / f"{name}.py", folder / name / "__init__.py")
    return next((path for path in files if path.is_file()), None)


def imported(path: Path, *, root: Path) -> ModuleType:
    """The module, executed. It may import from the project's folder `root`; a package finds its own modules relatively.

    Raises:
        BadProjectFile: it raised an exception; the message names its type and place.
    """
    package = path.name == "__init__.py"
    # A name of its own: `evals` may also be a package that is installed.
    name = f"graph_agent_project_{path.parent.name if package else path.stem}"
    spec = importlib.util.spec_from_file_location(
        name, path, submodule_search_locations=[str(path.parent)] if package else None
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    if (folder := str(root.resolve())) not in sys.path:
        sys.path.append(folder)
    # Registered before it is executed: a package's modules look it up, and dataclasses look their module up.
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except AgentError:
        raise
    except SyntaxError as error:
        # The compiler's own words, without the line that it quotes.
        place = f"{Path(error.filename or path).name}:{error.lineno}"
        raise BadProjectFile(f"{path} did not load: SyntaxError at {place}: {error.msg}") from error
    except ModuleNotFoundError as error:
        raise BadProjectFile(f"{path} did not load: there is no module named {error.name!r}; install it") from error
    except (Exception, SystemExit) as error:
        raise BadProjectFile(f"{path} did not load: {describe_error(error, own=path.parent)}") from error
    return module
