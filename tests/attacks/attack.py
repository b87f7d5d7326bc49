"""Carries out one attack: `attack.py MARKER GROUP.NAME [ARGUMENT...]`. The marker is for the host's eyes only."""

import importlib
import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

if __name__ == "__main__":
    group, name = sys.argv[2].split(".")
    sys.exit(getattr(importlib.import_module(group), name)(*sys.argv[3:]))
