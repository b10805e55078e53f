"""`make release`: one version everywhere, a complete bill of materials, and refusals that say what to change."""

import json
import re
import subprocess
import tarfile
import zipfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import yaml
from langgraph.graph import START, MessagesState, StateGraph
from releasing.bill_of_materials import bill_of_materials, check_bill
from releasing.distributions import MUST_HAVE, check_clean, check_contents, commit_time, digest, write_sums
from releasing.version import ROOT, Entry, NotReady, check_tag, entries, version_of_project
from starlette.testclient import TestClient

from graph_agent import Settings, create_app
from graph_agent.commands.cli import main

CHANGELOG = "# Changelog\n\n## 1.2.3 - 2026-12-01\n\n### Added\n\n- All.\n\n## 1.2.2 - 2026-11-01\n"


def test_every_place_that_says_the_version_says_that_of_the_project(capsys: pytest.CaptureFixture[str]) -> None:
    told = version_of_project()
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert (ended.value.code, capsys.readouterr().out) == (0, f"graph-agent {told}\n")
    assert version("graph-agent") == told
    assert entries((ROOT / "CHANGELOG.md").read_text(encoding="utf-8"))[0].version == told

    def speak(state: MessagesState) -> dict[str, Any]:
        return {"messages": []}

    graph = StateGraph(MessagesState).add_node("speak", speak).add_edge(START, "speak").compile()
    settings = Settings(store="memory", tracing="off", metrics="on")
    with TestClient(create_app(settings, graphs={"mute": graph}), base_url="http://localhost") as client:
        assert client.get("/openapi.json").json()["info"]["version"] == told
        assert f'graph_agent_info{{version="{told}"}} 1.0' in client.get("/metrics").text


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A checkout of the version 1.2.3, which is ready."""
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "graph-agent"\nversion = "1.2.3"\n')
    (tmp_path / "CHANGELOG.md").write_text(CHANGELOG)
    git = ["git", "-C", str(tmp_path), "-c", "user.name=A", "-c", "user.email=a@example.com"]
    for command in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "Release 1.2.3"]):
        subprocess.run([*git, *command], check=True)
    return tmp_path


def test_a_tag_of_the_version_on_a_clean_checkout_is_ready(project: Path) -> None:
    check_tag("v1.2.3", project)
    check_clean(project)
    assert entries(CHANGELOG) == [Entry("1.2.3", "2026-12-01"), Entry("1.2.2", "2026-11-01")]


@pytest.mark.parametrize(
    ("tag", "changelog", "said"),
    [
        ("v1.2.4", CHANGELOG, "pyproject.toml has the version 1.2.3"),
        ("1.2.3", CHANGELOG, "tag v1.2.3"),
        ("v1.2.3", CHANGELOG.replace("1.2.3 - 2026-12-01", "1.2.3 - unreleased"), "write the date of the release"),
        ("v1.2.3", CHANGELOG.replace("## 1.2.3 - 2026-12-01\n", ""), "does not begin with 1.2.3"),
        ("v1.2.3", CHANGELOG.replace("1.2.3 - 2026-12-01", "Unreleased"), "write '## Unreleased' as '## 1.2.3 - "),
    ],
)
def test_what_does_not_agree_is_named(tag: str, changelog: str, said: str, project: Path) -> None:
    (project / "CHANGELOG.md").write_text(changelog)
    with pytest.raises(NotReady) as refused:
        check_tag(tag, project)
    assert said in str(refused.value)


def test_a_checkout_that_differs_from_its_commit_is_refused_with_the_files(project: Path) -> None:
    (project / "new.py").touch()
    (project / "CHANGELOG.md").write_text("")
    with pytest.raises(NotReady, match=r"CHANGELOG\.md, new\.py; commit or remove"):
        check_clean(project)


def test_a_folder_without_a_commit_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    for needs_git in (commit_time, check_clean):
        with pytest.raises(NotReady, match="release from a checkout of git"):
            needs_git(tmp_path)
    # The time may be told by whoever builds from an archive.
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    assert commit_time(tmp_path) == "1700000000"


def test_a_wheel_and_an_sdist_are_refused_if_a_file_is_missing_or_too_much(tmp_path: Path) -> None:
    wheel, sdist = tmp_path / "a-1-py3-none-any.whl", tmp_path / "a-1.tar.gz"

    def pack(*names: str) -> None:
        with zipfile.ZipFile(wheel, "w") as packed:
            for name in names:
                packed.writestr(name, "")
        with tarfile.open(sdist, "w:gz") as archive:
            for name in names:
                archive.addfile(tarfile.TarInfo(f"a-1/src/{name}"))

    pack(*MUST_HAVE, "graph_agent/project_template/.env.example")
    for path in (wheel, sdist):
        check_contents(path)
    pack(*(name for name in MUST_HAVE if "page/index" not in name))
    for path in (wheel, sdist):
        with pytest.raises(NotReady, match=r"has no graph_agent/page/index\.html; run `make page docs` first"):
            check_contents(path)
    pack(*MUST_HAVE, "graph_agent/.env")
    for path in (wheel, sdist):
        with pytest.raises(NotReady, match=r"must not have graph_agent/\.env"):
            check_contents(path)


def test_the_sums_are_those_that_sha256sum_checks(tmp_path: Path) -> None:
    for name in ("b.whl", "a.json"):
        (tmp_path / name).write_text(name)
    write_sums([tmp_path / "b.whl", tmp_path / "a.json"], tmp_path / "SHA256SUMS")
    lines = (tmp_path / "SHA256SUMS").read_text().splitlines()
    assert lines == [f"{digest(tmp_path / name)}  {name}" for name in ("a.json", "b.whl")]


def test_the_bill_of_materials_has_every_package_of_the_locks_with_its_hashes() -> None:
    text = bill_of_materials(epoch="1700000000")
    check_bill(text)
    bill = json.loads(text)
    own = bill["metadata"]["component"]
    assert (own["name"], own["version"]) == ("graph-agent", version_of_project())
    assert bill["metadata"]["timestamp"].startswith("2023-11-14T22:13:20")
    by_purl = {one["purl"]: one for one in bill["components"]}
    lock = (ROOT / "requirements.txt").read_text(encoding="utf-8")
    for pin in re.split(r"\n(?=\S)", lock.strip()):
        name, told = re.match(r"([A-Za-z0-9._-]+)==([^\s;]+)", pin).groups()  # type: ignore[union-attr]
        listed = by_purl[f"pkg:pypi/{name}@{told}"]
        hashes = {one["content"] for reference in listed["externalReferences"] for one in reference["hashes"]}
        assert hashes == set(re.findall(r"sha256:([0-9a-f]{64})", pin)), name
        assert {reference["url"] for reference in listed["externalReferences"]} == {listed["purl"]}
    page = json.loads((ROOT / "page" / "package.json").read_text(encoding="utf-8"))
    for name, told in page["dependencies"].items():
        bundled = by_purl[f"pkg:npm/{name.replace('@', '%40')}@{told}"]
        assert [(one["alg"], len(one["content"])) for one in bundled["hashes"]] == [("SHA-512", 128)]
        assert bundled["licenses"]
    assert not [purl for purl in by_purl if purl.startswith(("pkg:npm/vite@", "pkg:pypi/pytest@"))]
    assert set(bill["dependencies"][0]["dependsOn"]) == set(by_purl)
    # Nothing of the machine that wrote it.
    assert str(ROOT) not in text
    assert bill_of_materials(epoch="1700000000") == text


def test_the_workflow_names_actions_by_commit_and_only_its_own_jobs_sign_and_publish() -> None:
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "release.yml").read_text(encoding="utf-8"))
    jobs = workflow["jobs"]
    used = [step["uses"] for job in jobs.values() for step in job["steps"] if "uses" in step]
    assert [one for one in used if not re.fullmatch(r"actions/[a-z-]+@[0-9a-f]{40}", one)] == []
    assert workflow["permissions"] == {}
    assert jobs["build"]["permissions"] == {"contents": "read"}
    may_sign = [name for name, job in jobs.items() if "id-token" in job["permissions"]]
    assert may_sign == ["sign", "publish"]
    runs = " ".join(step.get("run", "") for job in jobs.values() for step in job["steps"])
    # An expression in a shell command would run what somebody calls a tag.
    assert "${{" not in runs
    assert 'make release TAG="$TAG"' in runs
