"""Where a project keeps what its evaluations need: in a folder `evals` beside its `langgraph.json`."""

from dataclasses import dataclass
from pathlib import Path

from graph_agent.evaluating.errors import BadDataset
from graph_agent.evaluating.project_files import found

SMOKE = "smoke"
"""The dataset for the scripted model, by convention: small, and every row is known to be answered right."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """The folders and files of one project, by convention. None of them has to exist."""

    config: Path = Path("langgraph.json")
    """The list of graphs. The project is the folder that holds it."""

    @property
    def root(self) -> Path:
        """The project's folder."""
        return self.config.parent

    @property
    def evals(self) -> Path:
        """The folder of everything below."""
        return self.root / "evals"

    @property
    def datasets(self) -> Path:
        """One JSONL file for each dataset."""
        return self.evals / "datasets"

    @property
    def baselines(self) -> Path:
        """One JSON file for each dataset, graph, model and judge. Commit them."""
        return self.evals / "baselines"

    @property
    def out(self) -> Path:
        """Records and reports of the latest evaluations. Do not commit them."""
        return self.evals / "out"

    @property
    def mutants(self) -> Path:
        """A list of graphs that are broken on purpose. They test the evaluation itself."""
        return self.evals / "mutants" / "langgraph.json"

    @property
    def script(self) -> Path | None:
        """`scripted.py` or the package `scripted`: a model that follows rules. None if there is neither."""
        return found(self.evals, "scripted")

    @property
    def scorers(self) -> Path | None:
        """`scorers.py` or the package `scorers`: the project's own scorers. None if there is neither."""
        return found(self.evals, "scorers")

    def dataset(self, name: str | None, *, scripted: bool) -> Path:
        """The file of a dataset, by its name or path. It may not exist.

        Without a name it is `smoke` for the scripted model and the other dataset for real models; where there is only
        one dataset, it is that one.

        Raises:
            BadDataset: no name is given, and there is no dataset, or several could be meant.
        """
        if name:
            return Path(name) if name.endswith(".jsonl") else self.datasets / f"{name}.jsonl"
        known = sorted(self.datasets.glob("*.jsonl"))
        small = [path for path in known if path.stem == SMOKE]
        large = [path for path in known if path.stem != SMOKE]
        suitable = (small or large) if scripted else (large or small)
        if not suitable:
            raise BadDataset(f"there is no dataset in {self.datasets}; write one there, or give --dataset a JSONL file")
        if len(suitable) > 1:
            names = ", ".join(path.stem for path in known)
            raise BadDataset(f"there are several datasets; give --dataset one of: {names}")
        return suitable[0]
