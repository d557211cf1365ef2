"""Two notebooks in a real JupyterLab: open, run all cells, no error output."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
CHROMIUM = shutil.which("chromium")
NOTEBOOKS = ["api/00_core.ipynb", "api/roi/00_boxes.ipynb"]
READY = """() => {
    const widget = window.jupyterapp?.shell.currentWidget;
    return Boolean(widget?.context?.isReady && widget.context.path === PATH);
}"""
RUN = """async () => {
    const widget = window.jupyterapp.shell.currentWidget;
    await widget.context.sessionContext.ready;
    await window.jupyterapp.commands.execute('notebook:run-all-cells');
    await widget.context.save();
}"""

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="Debian's chromium is not installed: make browser"),
]


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """A JupyterLab of its own on a copy of the notebooks: (address, folder)."""
    folder = tmp_path_factory.mktemp("lab")
    work = folder / "kit" / "nbs"  # with what nbdev_export, the last cell of every notebook, writes to
    for name in ("nbs", "reidkit"):
        shutil.copytree(ROOT / name, folder / "kit" / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("settings.ini", "setup.py", "pyproject.toml"):
        shutil.copy(ROOT / name, folder / "kit" / name)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {
        **os.environ,
        "HOME": str(folder),
        "JUPYTER_CONFIG_DIR": str(folder / "c"),
        "JUPYTER_DATA_DIR": str(folder / "d"),
        "IN_TEST": "1",
    }
    environment.pop("MPLBACKEND", None)
    command = [
        sys.executable,
        "-m",
        "jupyterlab",
        "--no-browser",
        "--allow-root",
        "--expose-app-in-browser",
        f"--port={port}",
    ]
    command += [
        "--ServerApp.ip=127.0.0.1",
        "--IdentityProvider.token=t",
        f"--ServerApp.root_dir={work}",
        "--LabApp.news_url=None",
    ]
    command += ["--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate"]
    with (folder / "log").open("w") as log:
        server = subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT)
    address = f"http://127.0.0.1:{port}"
    for _ in range(120):
        try:
            urllib.request.urlopen(f"{address}/api/status?token=t", timeout=1)
            break
        except OSError:
            time.sleep(0.5)
    else:
        server.kill()
        pytest.fail(f"JupyterLab did not start:\n{(folder / 'log').read_text()[-2000:]}")
    yield address, work
    server.terminate()
    server.wait(timeout=20)


@pytest.mark.parametrize("notebook", NOTEBOOKS)
def test_notebook_runs_in_jupyterlab(lab, notebook):
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    address, work = lab
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-background-networking"]
        )
        page = browser.new_page(viewport={"width": 1400, "height": 1000})
        page.goto(f"{address}/lab/tree/{notebook}?token=t&reset")
        page.wait_for_selector(".jp-Notebook .jp-CodeCell", timeout=60_000)
        page.wait_for_function(READY.replace("PATH", json.dumps(notebook)), timeout=60_000)
        page.evaluate(RUN)
        browser.close()
    cells = [
        cell for cell in json.loads((work / notebook).read_text())["cells"] if cell["cell_type"] == "code"
    ]
    assert sum(bool(cell.get("execution_count")) for cell in cells) >= len(cells) - 1
    errors = [
        output["evalue"] for cell in cells for output in cell["outputs"] if output["output_type"] == "error"
    ]
    assert not errors
