"""The wheel that `make wheel` built, in an empty environment."""

import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
WHEELS = sorted((ROOT / "dist").glob("reidkit-*.whl"))

pytestmark = pytest.mark.skipif(not WHEELS, reason="no wheel is built: make wheel")


def test_wheel_holds_code_weights_and_recipes():
    names = set(zipfile.ZipFile(WHEELS[-1]).namelist())
    packaged = {str(path.relative_to(ROOT)) for path in (ROOT / "reidkit").rglob("*") if path.is_file()}
    expected = {name for name in packaged if "__pycache__" not in name}
    assert expected <= names
    assert any(name.startswith("reidkit/weights/") for name in names)
    assert not any(name.startswith(("tests/", "nbs/", "docs/")) for name in names)


def test_wheel_imports_alone_and_says_nothing(tmp_path):
    """No dependency is installed: `import reidkit` must need none of them."""
    venv.create(tmp_path / "empty", with_pip=False)
    python = tmp_path / "empty" / "bin" / "python"
    site = subprocess.run(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", site, str(WHEELS[-1])],
        check=True,
    )
    result = subprocess.run(
        [python, "-c", "import reidkit; assert reidkit.__version__"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
