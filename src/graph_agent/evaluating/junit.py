"""The verdict as JUnit XML. Each metric and each failed scorer is a test case, and all rows together are one."""

from xml.etree import ElementTree

from graph_agent.evaluating.gate import Verdict
from graph_agent.evaluating.report import headline
from graph_agent.evaluating.scores import Scores


def junit(scores: Scores, verdict: Verdict) -> str:
    """Return the text of the file."""
    names = list(dict.fromkeys(["rows", *verdict.checked, *verdict.failed_metrics]))
    suite = ElementTree.Element(
        "testsuite",
        name=f"eval {headline(scores)}",
        tests=str(len(names)),
        failures=str(len(verdict.failed_metrics)),
        errors="0",
        skipped="0",
    )
    for name in names:
        case = ElementTree.SubElement(suite, "testcase", classname=f"eval.{scores.run['dataset']}", name=name)
        failures = [failure for failure in verdict.failures if failure.metric == name]
        if failures:
            message = "; ".join(f"{name} {failure.message}" for failure in failures)
            failed = ElementTree.SubElement(case, "failure", type=failures[0].kind, message=message)
            failed.text = "\n".join(row for failure in failures for row in failure.rows)
    root = ElementTree.Element("testsuites")
    root.append(suite)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"
