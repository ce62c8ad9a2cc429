"""The index of Kconfig symbols as plain values, for a file."""

from __future__ import annotations
