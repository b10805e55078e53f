"""Command and variables that the bundle itself gives its app."""

from typing import Any

from tests.databricks.shop import BUNDLE, DEPLOYS, FILES, Shop, steps
from tests.standin.apps import ANSWERS, FAILS

CONFIG = """      config:
        command: [python, -m, graph_agent, serve, --log-level, "${bundle.target}"]
        env:
          - {name: GRAPH_AGENT_MODEL, value_from: index}
          - {name: GRAPH_AGENT_WORKERS, value: true}
"""


def test_command_and_variables_of_the_bundle_go_before_those_of_the_file(shop: Shop) -> None:
    shop.write(databricks_yml=BUNDLE.replace("      permissions:\n", f"{CONFIG}      permissions:\n"))
    started: list[Any] = []

    def rehearse(files: Any, source: str, app: Any, *, seconds: float) -> float:
        started.append(app)
        return 0.1

    assert shop.deploy(rehearse=rehearse) == 0
    assert "  command and env_vars of the bundle's config override app.yaml" in shop.said
    [deployed] = shop.standing.calls("deployments$")
    command = ["python", "-m", "graph_agent", "serve", "--log-level", "dev"]
    assert deployed.json == {
        "source_code_path": FILES,
        "mode": "SNAPSHOT",
        "command": command,
        # All of them, so that it makes no difference whether the platform merges them with the file's.
        "env_vars": [
            {"name": "PYTHONPATH", "value": "src"},
            {"name": "GRAPH_AGENT_MODEL", "value_from": "index"},
            {"name": "GRAPH_AGENT_WORKERS", "value": "true"},
        ],
    }
    # What is started on this machine is what will run.
    assert list(started[0].command) == command
    assert started[0].environment == {
        "PYTHONPATH": "src",
        "GRAPH_AGENT_MODEL": "main.docs.project",
        "GRAPH_AGENT_WORKERS": "true",
    }
    assert shop.deploy() == 0
    assert shop.said[-1].startswith("nothing to deploy")


def test_a_change_of_the_bundles_config_alone_is_deployed_and_so_is_its_end(shop: Shop) -> None:
    shop.deploy()
    shop.write(databricks_yml=BUNDLE.replace("      permissions:\n", f"{CONFIG}      permissions:\n"))
    assert shop.deploy() == 0
    assert steps(shop) == [DEPLOYS]
    shop.write(databricks_yml=BUNDLE)
    assert shop.deploy() == 0
    [deployed] = shop.standing.calls("deployments$")
    assert deployed.json == {"source_code_path": FILES, "mode": "SNAPSHOT"}
    shop.write(databricks_yml=BUNDLE.replace("      permissions:\n", f"{CONFIG}      permissions:\n"))
    shop.app.answers[:] = [FAILS]
    assert shop.deploy() == 1
    assert [set(one.json) for one in shop.standing.calls("deployments$")][1] == {"source_code_path", "mode"}
    # Rolled back to the start of the file alone.
    shop.app.answers[:] = [ANSWERS]
    shop.write(databricks_yml=BUNDLE)
    assert shop.deploy() == 0
    assert shop.said[-1].startswith("nothing to deploy")


def test_the_bundles_config_may_be_all_there_is_and_may_be_a_variable(shop: Shop) -> None:
    (shop.folder / "app.yaml").unlink()
    variable = "  started: {type: complex, default: {command: [python, '${bundle.target}.py']}}\n  size:"
    text = BUNDLE.replace("  size:", variable, 1)
    shop.write(
        databricks_yml=text.replace("      permissions:\n", "      config: ${var.started}\n      permissions:\n")
    )
    assert shop.deploy() == 0
    [deployed] = shop.standing.calls("deployments$")
    assert deployed.json["command"] == ["python", "dev.py"]
    assert "env_vars" not in deployed.json


def test_the_apps_file_may_be_called_by_either_ending(shop: Shop) -> None:
    (shop.folder / "app.yaml").rename(shop.folder / "app.yml")
    shop.commit()
    assert shop.deploy() == 0
    assert "app.yml" in shop.apps.below(FILES)
