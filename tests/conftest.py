"""Fixtures that several test files share."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The development data (see its MANIFEST.md); tests that need it are skipped where it is absent."""
    path = Path(os.environ.get("REIDKIT_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data")
    if not path.is_dir():
        pytest.skip(f"no development data at {path}; set REIDKIT_DATA to its folder")
    return path
