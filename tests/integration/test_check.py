"""`invoke check` with the real tools: the shipped series on a real tree, in its own image."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from kmodpipe.build import builder_image, check_image
from kmodpipe.build.runtime import docker_engine
from kmodpipe.cache.place import cache_folder
from kmodpipe.util.screen import Mode, Screen
from tests.support import REPO

pytestmark = [pytest.mark.integration, pytest.mark.thorough, pytest.mark.timeout(3600)]

# What is wrong with each line is for one tool to say.
BAD = f"""\
From: Somebody <somebody@localhost.invalid>
Subject: [PATCH] ovl: wrong in many ways

It is only for tests.

Fixes: 1234567 (none)
---
 fs/overlayfs/export.c | 9 +++++++++

diff --git a/fs/overlayfs/export.c b/fs/overlayfs/export.c
--- a/fs/overlayfs/export.c
+++ b/fs/overlayfs/export.c
@@ -16,3 +16,16 @@
 #include <linux/ratelimit.h>
 #include "overlayfs.h"
+/**
+ * ovl_wrong() - is wrong
+ * @nothing: no parameter
+ */
+int ovl_wrong(__le32 a);
+int ovl_wrong(__le32 a)
+{{
+\tchar frame[1500];
+
+\tmemset(frame,jiffies_to_msecs(1),sizeof(frame));
+\treturn a + frame[jiffies_to_msecs(2) % 1500];
+}}
+
{" "}
"""


@pytest.fixture(scope="module")
def client() -> Any:
    if docker_engine.look(3).state is not docker_engine.State.ANSWERS:
        pytest.skip("no Docker Engine answers")
    return docker_engine.connect()


def check(out: Path, *argv: str) -> tuple[int, dict[str, Any], str]:
    done = subprocess.run(
        [sys.executable, "-m", "invoke", "check", "--tree", "debian-5.10", "--out", str(out), *argv],
        cwd=REPO, capture_output=True, text=True, check=False, timeout=3600,
    )  # fmt: skip
    found = out / "latest" / "check.json"
    assert found.exists(), done.stdout + done.stderr
    return done.returncode, json.loads(found.read_text()), done.stdout + done.stderr


def outcomes(report: dict[str, Any], patch: int) -> dict[str, dict[str, Any]]:
    return {one["check"]: one for one in report["series"][0]["patches"][patch - 1]["outcomes"]}


def test_the_image_is_made_on_top_of_the_builder_s_and_leaves_it_alone(client: Any) -> None:
    screen, images = Screen(Mode.QUIET), REPO / "images"
    builder = builder_image.ensure(client, images, cache_folder(), screen)
    made = check_image.ensure(client, images, builder, cache_folder(), screen)
    assert made != builder and builder_image.find(client, images) == builder
    assert check_image.ensure(client, images, builder, cache_folder(), screen) == made
    assert client.images.get(made).labels[builder_image.BASE_LABEL] == builder


@pytest.mark.kernels
@pytest.mark.parametrize("name", ["index-nouuid", "uuid-off"])
def test_the_shipped_series_bring_nothing_that_a_bot_would_complain_of(
    client: Any, tmp_path: Path, name: str
) -> None:
    code, report, text = check(tmp_path / "out", "--series", name)
    assert code == 0, text
    assert all(
        not one["not_checked"] for patch in report["series"][0]["patches"] for one in patch["outcomes"]
    )
    again, _, text = check(tmp_path / "out", "--series", name)
    assert again == 0 and " 0 steps made" in f" {text}", text


def test_each_tool_says_what_is_wrong(client: Any, tmp_path: Path) -> None:
    (tmp_path / "bad.patch").write_text(BAD)
    code, report, text = check(
        tmp_path / "out", "--series", str(tmp_path / "bad.patch"), "--module", "fs/overlayfs",
        "--cell", "*INDEX=y.NOUUID=n",
    )  # fmt: skip
    assert code == 1, text
    found = outcomes(report, 1)
    rules = {check: {one["rule"] for one in own["findings"]} for check, own in found.items()}
    texts = {check: " ".join(one["text"] for one in own["findings"]) for check, own in found.items()}
    assert not any(own["not_checked"] for own in found.values()), text
    assert "restricted __le32 degrades to integer" in texts["sparse"]
    assert {"SPACING", "MISSING_SIGN_OFF"} <= rules["checkpatch"]
    assert "'nothing'" in texts["kernel-doc"]
    assert rules["tags"] == {"signed-off-by", "fixes"}
    assert "<linux/jiffies.h>" in texts["includes"]
    assert "ovl_wrong" in texts["stack"] and "ovl_wrong" in texts["size"]
    assert found["builds"]["findings"] == []


# free/ifnullfree.cocci and misc/semicolon.cocci.
COCCI = f"""\
From: Somebody <somebody@localhost.invalid>
Subject: [PATCH] ovl: what a semantic patch finds

---
diff --git a/fs/overlayfs/export.c b/fs/overlayfs/export.c
--- a/fs/overlayfs/export.c
+++ b/fs/overlayfs/export.c
@@ -16,3 +16,11 @@
 #include <linux/ratelimit.h>
 #include "overlayfs.h"
+void ovl_frees(void *some);
+void ovl_frees(void *some)
+{{
+\tif (some)
+\t\tkfree(some);
+\twhile (0) {{}};
+}}
+
{" "}
"""


@pytest.mark.kernels
def test_coccinelle_reports_what_is_new_and_nothing_else(client: Any, tmp_path: Path) -> None:
    (tmp_path / "cocci.patch").write_text(COCCI)
    code, report, text = check(
        tmp_path / "out", "--series", str(tmp_path / "cocci.patch"), "--module", "fs/overlayfs",
        "--cell", "*INDEX=y.NOUUID=n", "--coccinelle",
    )  # fmt: skip
    assert code == 1, text
    found = outcomes(report, 1)["coccicheck"]
    rules = {one["rule"] for one in found["findings"]}
    assert rules >= {"cocci free/ifnullfree", "cocci misc/semicolon"}, text
    told = [one for one in found["findings"] if one["level"] != "note"]
    assert {one["file"] for one in told} == {"fs/overlayfs/export.c"}
    # Two are written in OCaml, which the image has no compiler for.
    (unable,) = (one["text"] for one in found["findings"] if one["level"] == "note")
    assert unable.startswith("2 semantic patches of the tree cannot be run, as before"), unable
