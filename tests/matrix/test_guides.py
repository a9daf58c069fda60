"""The guides for runners: what can be checked of them without a GPU machine and without GitHub."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from matrix.configuration import Configuration
from matrix.plan import Job, labels
from matrix.runner import Runner

DOCS = Path(__file__).parents[2] / "docs"
WORKFLOWS = DOCS.parent / ".github" / "workflows"


def blocks(name: str, kind: str) -> list[str]:
    text = (DOCS / name).read_text("utf-8")
    return re.findall(rf"^```{kind}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("guide", ["runner.md", "arc.md"])
def test_every_script_of_a_guide_is_one_that_bash_reads(guide: str) -> None:
    found = blocks(guide, "sh")
    assert found
    for script in found:
        read = subprocess.run(
            ["bash", "-n"], input=script, text=True, capture_output=True, check=False
        )
        assert (read.returncode, read.stderr) == (0, "")


def test_the_runner_registers_with_the_labels_that_jobs_ask_for() -> None:
    (script,) = [each for each in blocks("runner.md", "sh") if "jitconfig" in each]
    listed = re.search(r"labels: (\[[^]]*\])", script)
    assert listed is not None
    named = json.loads(listed[1].replace("$machine", '"arm64"').replace("$target", '"sm121"'))
    asked = Job(stack="x", target="sm121", machine="aarch64", cells={})
    assert tuple(named) == labels(asked)


def test_the_scale_set_has_the_labels_that_jobs_ask_for_and_asks_for_a_gpu() -> None:
    (text,) = blocks("arc.md", "yaml")
    values: dict[str, Any] = yaml.safe_load(text)
    asked = Job(stack="x", target="sm100", machine="x86_64", cells={})
    assert tuple(values["runnerScaleSetLabels"]) == labels(asked)
    containers = values["template"]["spec"]["initContainers"]
    assert [c["name"] for c in containers if "nvidia.com/gpu" in str(c)] == ["dind"]
    runner = Runner(name="pod", status="online", labels=())
    assert not runner.takes(labels(asked))


def test_the_targets_that_the_guides_name_are_targets() -> None:
    known = {target.name for target in Configuration().targets}
    for guide in ("driving.md", "runner.md", "arc.md"):
        assert set(re.findall(r"\bsm\d{2,3}\b", (DOCS / guide).read_text("utf-8"))) <= known


def test_the_page_names_every_workflow_and_every_setting() -> None:
    text = (DOCS / "driving.md").read_text("utf-8")
    for path in WORKFLOWS.glob("*.yml"):
        assert f"`{path.name}`" in text
        for name in re.findall(r"(?:secrets|vars)\.([A-Z_]+)", path.read_text("utf-8")):
            assert f"`{name}`" in text
