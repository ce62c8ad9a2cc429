"""The command line of a guest's kernel."""

from __future__ import annotations

from kmodpipe.pipeline.cell_job import cmdline


def test_devices_send_no_messages_where_there_is_no_apic_for_them() -> None:
    assert cmdline(1).endswith(" nolapic")
    assert cmdline(1, "quiet", devices=True).endswith(" nolapic pci=nomsi quiet")
    assert "pci" not in cmdline(2, devices=True) and "nolapic" not in cmdline(2)
