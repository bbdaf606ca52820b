"""Marks of tests that need XLA's compilers for devices that are not here."""

import platform
import sys

import pytest

COMPILERS = [
  pytest.mark.usefixtures("nothing_is_kept"),
  pytest.mark.skipif(
    (sys.platform, platform.machine()) != ("linux", "x86_64"),
    reason="the compilers come for Linux on x86-64 only",
  ),
]
