"""Tests, a folder a room; what several rooms need stands here and in `conftest.py`."""

from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
