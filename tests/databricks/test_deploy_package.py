"""How a deployed project gets graph-agent: from an index, or as a wheel beside its sources."""

import hashlib
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from tests.databricks.shop import FILES, Shop, refused

from graph_agent.deploying.package_wheel import Installed

HERE = Installed.here()


def from_index() -> Installed:
    return replace(HERE, from_index=True)


def test_a_package_that_no_index_has_is_uploaded_as_a_wheel_which_the_requirements_name(shop: Shop) -> None:
    shop.write(requirements_txt="# Mine.\ngraph_agent==0.1.0  # pinned\nhttpx\n")
    assert shop.deploy() == 0
    uploaded = shop.apps.below(FILES)
    [wheel] = [path for path in uploaded if path.endswith(".whl")]
    assert uploaded["requirements.txt"].decode() == f"# Mine.\n./{wheel}\nhttpx\n"
    assert shop.rehearsed[0] == uploaded
    assert (shop.folder / "requirements.txt").read_text().startswith("# Mine.\ngraph_agent==0.1.0")
    assert any(f"its wheel is added: {wheel}" in line for line in shop.said)
    assert shop.deploy() == 0
    assert shop.said[-1].startswith("nothing to deploy")


def test_a_dry_run_lists_the_wheel(nobody: Shop) -> None:
    nobody.write(requirements_txt="graph-agent\n")
    assert nobody.deploy(dry_run=True, environ={}) == 0
    assert any(line.startswith("  graph_agent-0.1.0+h") and ".whl (" in line for line in nobody.said)


def test_the_wheel_is_installed_with_what_it_needs_and_its_command(tmp_path: Path) -> None:
    wheel = HERE.packed()
    assert wheel == HERE.packed()
    (tmp_path / wheel.name).write_bytes(wheel.content)
    uv = Path(sys.executable).with_name("uv")
    requirements = tmp_path / "requirements.txt"
    requirements.write_text(f"./{wheel.name} --hash=sha256:{hashlib.sha256(wheel.content).hexdigest()}\n")
    target = tmp_path / "installed"
    command = [
        uv,
        "pip",
        "install",
        "--offline",
        "--no-deps",
        "--require-hashes",
        "--target",
        target,
        "-r",
        requirements,
    ]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    [info] = target.glob("graph_agent-*.dist-info")
    assert info.name == f"{wheel.name.removesuffix('-py3-none-any.whl')}.dist-info"
    assert "graph-agent = graph_agent.commands.cli:main" in (info / "entry_points.txt").read_text()
    assert "Requires-Dist: langgraph" in (info / "METADATA").read_text()
    assert (info / "licenses" / "LICENSE").is_file()
    assert (target / "graph_agent" / "project_template" / "app.yaml").is_file()
    with zipfile.ZipFile(tmp_path / wheel.name) as archive:
        assert not [name for name in archive.namelist() if "__pycache__" in name]


def test_another_content_is_another_version(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("a = 1\n")
    before = replace(HERE, folder=tmp_path).packed().name
    (tmp_path / "a.py").write_text("a = 2\n")
    assert replace(HERE, folder=tmp_path).packed().name != before
    marked = replace(HERE, folder=tmp_path, version="0.1.0+habc").packed().name
    assert marked.startswith("graph_agent-0.1.0+habc.h")


@pytest.mark.parametrize("text", ["graph-agent==0.1.0\n", "httpx\ngraph-agent>=0.1 ; python_version > '3'\n"])
def test_a_package_from_an_index_is_left_to_the_requirements(shop: Shop, text: str) -> None:
    shop.write(requirements_txt=text)
    assert shop.deploy(find=from_index) == 0
    uploaded = shop.apps.below(FILES)
    assert uploaded["requirements.txt"].decode() == text
    assert not [path for path in uploaded if path.endswith(".whl")]


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("Graph.Agent[local] == 0.1", "./{wheel}[local]"),
        ("graph-agent @ file:///home/me/graph-agent", "./{wheel}"),
        ("graph-agent @ https://example.com/graph_agent-0.1.0-py3-none-any.whl", None),
        (
            "graph-agent-tools==1\ngraph-agent==0.1 \\\n  --hash=sha256:00",
            "graph-agent-tools==1\n./{wheel} --hash=sha256:",
        ),
    ],
)
def test_forms_of_the_requirement(nobody: Shop, line: str, named: str | None) -> None:
    nobody.write(requirements_txt=f"{line}\nhttpx\n")
    nobody.deploy(dry_run=True, environ={})
    files = nobody.rehearsed[0]
    wheels = [path for path in files if path.endswith(".whl")]
    text = files["requirements.txt"].decode()
    if named is None:
        assert (wheels, text) == ([], f"{line}\nhttpx\n")
    else:
        [wheel] = wheels
        assert text.startswith(named.format(wheel=wheel))
        assert text.endswith("\nhttpx\n")
        if "--hash" in named:
            assert hashlib.sha256(files[wheel]).hexdigest() in text


def test_an_app_whose_requirements_lack_the_package_is_refused(shop: Shop) -> None:
    shop.write(requirements_txt="httpx\n")
    assert "requirements.txt does not name graph-agent, but the app's command starts it" in refused(shop)
    shop.write(requirements_txt="-r more.txt\n")
    assert shop.deploy() == 0
    shop.put("requirements.txt", "httpx\n")
    shop.put("src/graph_agent/__init__.py", "")
    shop.commit()
    assert shop.deploy() == 0


def test_a_wheel_that_the_requirements_name_must_be_uploaded(shop: Shop) -> None:
    shop.write(requirements_txt="./wheels/graph_agent-0.1.0-py3-none-any.whl\n")
    message = refused(shop)
    assert "requirements.txt names ./wheels/graph_agent-0.1.0-py3-none-any.whl, which is not among the files" in message
    shop.put("wheels/graph_agent-0.1.0-py3-none-any.whl", "wheel")
    shop.commit()
    assert shop.deploy() == 0
