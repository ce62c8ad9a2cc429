"""Text as it may stand in the page. Pure."""

from __future__ import annotations

import re
from typing import Any

from markupsafe import Markup

from kmodpipe.util.text import visible_lines

# Code points that are not allowed in HTML: the noncharacters of every Unicode plane (HTML standard, 13.1).
_PLANES = "".join(chr(plane << 16 | low) for plane in range(17) for low in (0xFFFE, 0xFFFF))
_NONCHARACTERS = re.compile(f"[\ufdd0-\ufdef{_PLANES}]")


def shown(text: str) -> str:
    """Return *text* with illegal and invisible characters made visible."""
    text = visible_lines(text)
    return text if text.isascii() else _NONCHARACTERS.sub(lambda m: f"\\u{ord(m.group()):04x}", text)


def finalize(value: Any) -> Any:
    """Return what a template prints as `shown`; markup and other types stay."""
    return shown(value) if isinstance(value, str) and not isinstance(value, Markup) else value
