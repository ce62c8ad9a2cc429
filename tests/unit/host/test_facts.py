"""What is read of this machine."""

from __future__ import annotations

from kmodpipe.host import facts


def test_os_release_is_unquoted_and_damage_is_skipped() -> None:
    text = (
        'ID=ubuntu\nID_LIKE="debian gnu"\n# ID=x\nPRETTY_NAME="a \\"b\\""\nBAD="open\nVERSION_ID=\'24.04\'\n'
    )
    found = facts.parse_os_release(text)
    assert (found["ID"], found["ID_LIKE"], found["VERSION_ID"]) == ("ubuntu", "debian gnu", "24.04")
    assert "BAD" not in found
