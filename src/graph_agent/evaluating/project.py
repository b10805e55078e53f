"""Where a project keeps what its evaluations need: in a folder `evals` beside its `langgraph.json`."""

from dataclasses import dataclass
from pathlib import Path

from graph_agent.evaluating.errors import BadDataset


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """The folders and files of one project, by convention; none of them has to exist."""

    config: Path = Path("langgraph.json")
    """The list of graphs. The project is the folder in which it lies."""

    @property
    def root(self) -> Path:
        """The project's folder."""
        return self.config.parent

    @property
    def datasets(self) -> Path:
        """`evals/datasets`: one JSONL file for each dataset."""
        return self.root / "evals" / "datasets"

    @property
    def baselines(self) -> Path:
        """`evals/baselines`: one JSON file for each dataset, graph, model and judge. They are meant to be committed."""
        return self.root / "evals" / "baselines"

    @property
    def out(self) -> Path:
        """`evals/out`: records and reports of the last evaluations. They are not meant to be committed."""
        return self.root / "evals" / "out"

    @property
    def mutants(self) -> Path:
        """`evals/mutants/langgraph.json`: graphs that are broken on purpose, to test the evaluation itself."""
        return self.root / "evals" / "mutants" / "langgraph.json"

    @property
    def script(self) -> Path | None:
        """`evals/scripted.py` or `evals/scripted/__init__.py`: a model that follows rules. None if there is neither."""
        folder = self.root / "evals"
        files = (folder / "scripted.py", folder / "scripted" / "__init__.py")
        return next((path for path in files if path.is_file()), None)

    def dataset(self, name: str | None, *, scripted: bool) -> Path:
        """The file of a dataset, by its name or path.

        Without a name it is `smoke` for the scripted model and the other one for real models, or the only one there is.

        Raises:
            BadDataset: no name is given, and there is no dataset or more than one.
        """
        if name:
            return Path(name) if name.endswith(".jsonl") else self.datasets / f"{name}.jsonl"
        known = sorted(self.datasets.glob("*.jsonl"))
        smoke = [path for path in known if path.stem == "smoke"]
        others = [path for path in known if path.stem != "smoke"]
        chosen = (smoke or others) if scripted else (others or smoke)
        if not chosen:
            raise BadDataset(f"there is no dataset in {self.datasets}; write one there, or give --dataset a JSONL file")
        if len(chosen) > 1:
            names = ", ".join(path.stem for path in known)
            raise BadDataset(f"there are several datasets; give --dataset as one of: {names}")
        return chosen[0]
