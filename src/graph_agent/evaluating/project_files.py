"""Imports the Python files of a project's evaluations by their path."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

from graph_agent.errors import AgentError
from graph_agent.evaluating.errors import BadProjectFile
from graph_agent.foreign_errors import describe_error


def module_path(folder: Path, name: str) -> Path | None:
    """Return the path of `NAME.py` or of the package `NAME` in `folder`; None if there is neither."""
    files = (folder / f"{name}.py", folder / name / "__init__.py")
    return next((path for path in files if path.is_file()), None)


def import_file(path: Path, *, root: Path) -> ModuleType:
    """Import the module at `path`. It may import from the project's folder `root`. A package uses relative imports.

    Raises:
        BadProjectFile: the module raised an exception. The message names its type and place.
    """
    package = path.name == "__init__.py"
    # A unique name, because an installed package may also be called `evals`.
    name = f"graph_agent_project_{path.parent.name if package else path.stem}"
    spec = importlib.util.spec_from_file_location(
        name, path, submodule_search_locations=[str(path.parent)] if package else None
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Appended and not prepended: a file of the project must not replace an installed module of the same name.
    if (folder := str(root.resolve())) not in sys.path:
        sys.path.append(folder)
    # Registered before it runs: the modules of a package look up their parent, and dataclasses look up their module.
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except AgentError:
        raise
    except SyntaxError as error:
        # The compiler's message without the source line that it quotes, which may contain a secret.
        place = f"{Path(error.filename or path).name}:{error.lineno}"
        raise BadProjectFile(f"{path} did not load: SyntaxError at {place}: {error.msg}") from error
    except ModuleNotFoundError as error:
        raise BadProjectFile(f"{path} did not load: there is no module named {error.name!r}; install it") from error
    # The module is the project's code and may raise anything.
    except (Exception, SystemExit) as error:
        raise BadProjectFile(f"{path} did not load: {describe_error(error, own=path.parent)}") from error
    return module
