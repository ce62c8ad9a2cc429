"""Text that must stay text wherever it is shown."""

from __future__ import annotations

MARKUP = (
    "<script>alert(1)</script><img src=x onerror=alert(1)>\"'><style>*{display:none}</style>{{7*7}}</pre>"
)


HOSTILE = (
    "a\x00b\x1b[31mc\udc80d\ufffee]]>&<f\r\n"
    "[[ATTACHMENT|/etc/passwd]]\n[[ attachment|x]]\u202e\ud800 \x85\U0001fffe"
)
