"""What must hold for every tracked file: constraints in step with the project file, no large files, no machine paths.

Runs as a pre-commit hook and inside the test suite.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LARGEST_FILE = 25_000_000
LARGEST_TREE = 40_000_000
MACHINE_PATH = re.compile(rb"(?<![\w.~-])/(?:home|root|Users|work|tmp)/[\w.]")


def tracked_files() -> list[Path]:
    """Every file in version control that is in the working tree."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    return [path for name in listed.decode().split("\0") if name and (path := ROOT / name).is_file()]


def canonical(name: str) -> str:
    """A distribution name as package indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def unpinned_requirements() -> list[str]:
    """Direct requirements of pyproject.toml that constraints.txt does not pin."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    groups = [project["dependencies"], *project["optional-dependencies"].values()]
    wanted = {canonical(re.split(r"[\[<>=!~; ]", line)[0]) for group in groups for line in group} - {"unmingle"}
    pinned = {
        canonical(line.split("==")[0]) for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line
    }
    return sorted(wanted - pinned)


def problems() -> list[str]:
    """One line per thing that is out of order."""
    files = tracked_files()
    found = [f"constraints.txt does not pin {name}" for name in unpinned_requirements()]
    found += [f"{path.relative_to(ROOT)} is over 25 MB" for path in files if path.stat().st_size > LARGEST_FILE]
    if sum(path.stat().st_size for path in files) > LARGEST_TREE:
        found.append("the tracked files are over 40 MB together")
    texts = [path for path in files if path.suffix in {".py", ".md", ".toml", ".yaml", ".yml", ".txt", ".csv", ".json"}]
    found += [
        f"{path.relative_to(ROOT)} holds a machine path" for path in texts if MACHINE_PATH.search(path.read_bytes())
    ]
    return found


if __name__ == "__main__":
    lines = problems()
    print("\n".join(lines), file=sys.stderr)  # noqa: T201
    sys.exit(bool(lines))
