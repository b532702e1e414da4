"""The fuzzer itself is run by hand: it needs atheris, see README.md."""

from __future__ import annotations

import sys
from pathlib import Path

collect_ignore = ["harness.py"]
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
