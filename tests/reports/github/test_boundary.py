from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]


def imported(file: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {each.name.partition(".")[0] for each in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.partition(".")[0])
    return names


def test_one_module_knows_github3() -> None:
    files = [
        file for room in ("matrix", "reports", "images") for file in (ROOT / room).rglob("*.py")
    ]
    knowing = [file.relative_to(ROOT).as_posix() for file in files if "github3" in imported(file)]
    assert knowing == ["reports/github/client.py"]


def test_a_command_line_without_publish_loads_nothing_of_it() -> None:
    asked = "import sys, reports.cli, reports.commands.publish as p; print([n for n in sys.modules if 'github' in n])"
    done = subprocess.run(
        (sys.executable, "-c", asked), cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"
