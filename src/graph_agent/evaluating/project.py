"""The paths of a project's evaluations: a folder `evals` next to its `langgraph.json`."""

from dataclasses import dataclass
from pathlib import Path

from graph_agent.evaluating.errors import BadDataset
from graph_agent.evaluating.project_files import module_path

SMOKE = "smoke"
"""By convention, the dataset for the scripted model. It is small, and every row is known to get a right answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """The folders and files of one project by convention. None of them has to exist."""

    config: Path = Path("langgraph.json")
    """The list of graphs. Its folder is the project."""

    @property
    def root(self) -> Path:
        """The project's folder."""
        return self.config.parent

    @property
    def evals(self) -> Path:
        """The folder that contains everything below."""
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
        return module_path(self.evals, "scripted")

    @property
    def scorers(self) -> Path | None:
        """`scorers.py` or the package `scorers`: the project's own scorers. None if there is neither."""
        return module_path(self.evals, "scorers")

    def dataset(self, name: str | None, *, scripted: bool) -> Path:
        """Return the file of a dataset by its name or path. The file may not exist.

        Without a name, it is `smoke` for the scripted model and the other dataset for real models. If there is only one
        dataset, it is used for both.

        Raises:
            BadDataset: no name is given, and there is no project, no dataset, or there are several candidates.
        """
        if name:
            return Path(name) if name.endswith(".jsonl") else self.datasets / f"{name}.jsonl"
        known = sorted(self.datasets.glob("*.jsonl"))
        small = [path for path in known if path.stem == SMOKE]
        large = [path for path in known if path.stem != SMOKE]
        suitable = (small or large) if scripted else (large or small)
        if not suitable and not self.config.is_file():
            raise BadDataset(
                f"{self.config} does not exist, so this is no project; change to the folder of one, make one with "
                "graph-agent init, or name its list of graphs with --config. Datasets of an agent that runs elsewhere "
                "can be given as --dataset FILE.jsonl"
            )
        if not suitable:
            raise BadDataset(f"there is no dataset in {self.datasets}; write one there, or give --dataset a JSONL file")
        if len(suitable) > 1:
            names = ", ".join(path.stem for path in known)
            raise BadDataset(f"there are several datasets; give --dataset one of: {names}")
        return suitable[0]
