"""The software bill of materials of the wheel, in the format CycloneDX: what it installs, and what it contains.

What it installs are the packages of `requirements.txt`, with their hashes. What it contains besides this project's own
code are the packages that the chat page bundles, and the theme of the documentation.
"""

import base64
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from releasing.version import ROOT, NotReady, version_of_project

LOCK = "requirements.txt"
THEME = "mkdocs-material"

Component = dict[str, Any]


def bill_of_materials(*, epoch: str, root: Path = ROOT) -> str:
    """The bill as JSON. The same checkout gives the same text.

    Raises:
        NotReady: a lock cannot be read.
    """
    bill = _of_python(epoch, root)
    version = version_of_project(root)
    own = bill["metadata"]["component"]
    own["purl"] = f"pkg:pypi/graph-agent@{version}"
    own["version"] = version
    contained = [*_of_page(root), _of_theme(root)]
    bill["components"] += contained
    refs = [one["bom-ref"] for one in bill["components"]]
    bill["dependencies"] = [{"ref": own["bom-ref"], "dependsOn": sorted(refs)}, *({"ref": one} for one in sorted(refs))]
    return json.dumps(bill, indent=1, sort_keys=True) + "\n"


def check_bill(text: str) -> None:
    """Check a bill against the schema of its format.

    Raises:
        NotReady: it does not fit.
    """
    if error := JsonStrictValidator(SchemaVersion.V1_6).validate_str(text):
        raise NotReady(f"the bill of materials does not fit the schema of CycloneDX 1.6: {error}")


def _of_python(epoch: str, root: Path) -> dict[str, Any]:
    command = [sys.executable, "-m", "cyclonedx_py", "requirements", "--pyproject=pyproject.toml"]
    command += ["--mc-type=library", "--sv=1.6", "--output-reproducible", "--no-validate"]
    environment = {**os.environ, "SOURCE_DATE_EPOCH": epoch}
    done = subprocess.run([*command, LOCK], cwd=root, env=environment, check=False, capture_output=True, text=True)
    if done.returncode:
        raise NotReady(f"cyclonedx-py cannot read {LOCK}:\n{done.stderr}")
    bill: dict[str, Any] = json.loads(done.stdout)
    for component in bill["components"]:
        # The line of the lock, with all hashes once more.
        component.pop("description", None)
        # Not by the line of the lock, which moves with every other package.
        component["bom-ref"] = component["purl"]
        # Not by the index that this machine uses: the package URL names the public one.
        for reference in component["externalReferences"]:
            reference["url"] = component["purl"]
    return bill


def _of_page(root: Path) -> Iterator[Component]:
    lock: Mapping[str, Any] = json.loads((root / "page" / "package-lock.json").read_text(encoding="utf-8"))
    for path, locked in lock["packages"].items():
        if not path or locked.get("dev"):
            continue
        name = path.rpartition("node_modules/")[2]
        group, _, short = name.rpartition("/")
        purl = f"pkg:npm/{name.replace('@', '%40')}@{locked['version']}"
        algorithm, _, content = locked["integrity"].partition("-")
        hashes = [{"alg": algorithm.upper().replace("SHA", "SHA-"), "content": base64.b64decode(content).hex()}]
        yield {
            "type": "library",
            "bom-ref": purl,
            "purl": purl,
            **({"group": group} if group else {}),
            "name": short,
            "version": locked["version"],
            "hashes": hashes,
            "licenses": [{"license": {"id": locked["license"]}}],
            "description": "Bundled in the chat page, in graph_agent/page.",
        }


def _of_theme(root: Path) -> Component:
    lock = (root / "requirements-dev.txt").read_text(encoding="utf-8")
    match = re.search(rf"^{THEME}==([0-9][0-9A-Za-z.]*)", lock, re.MULTILINE)
    if match is None:
        raise NotReady(f"requirements-dev.txt does not pin {THEME}, whose theme is in the documentation")
    purl = f"pkg:pypi/{THEME}@{match[1]}"
    return {
        "type": "library",
        "bom-ref": purl,
        "purl": purl,
        "name": THEME,
        "version": match[1],
        "licenses": [{"license": {"id": "MIT"}}],
        "description": "Its theme is part of the documentation, in graph_agent/documentation.",
    }
