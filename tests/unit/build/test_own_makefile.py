"""What a module's Makefile makes before it runs kbuild."""

from __future__ import annotations

import pytest

from kmodpipe.build.own_makefile import make_for

DRIVER = """\
KDIR ?= /lib/modules/$(shell uname -r)/build
obj-m += drv.o
CFLAGS := -I$(src)

install: config.h modules_install
all: config.h $(DEPS)
\t$(MAKE) -C $(KDIR) M=$(CURDIR) modules

config.h gen/ids.h: configure
\t./configure > $@
"""


@pytest.mark.parametrize(
    ("makefile", "missing", "words"),
    [
        (DRIVER, "config.h", "all KDIR={kit}"),
        # Nobody asks for it by name.
        (DRIVER, "ids.h", "KDIR={kit}"),
        (DRIVER, "gen/ids.h", "KDIR={kit}"),
        (DRIVER, "other.h", ""),
        (DRIVER, "ig.h", ""),
        (DRIVER.replace("config.h", "$(CURDIR)/config.h"), "config.h", "all KDIR={kit}"),
        (DRIVER.replace("config.h", "./config.h"), "config.h", "all KDIR={kit}"),
        (DRIVER.replace("KDIR ?= /lib", "KDIR ?= x\nexport KSRC := /lib"), "config.h", "all KSRC={kit}"),
        (DRIVER.replace("all: config.h", "all: \\\n  config.h"), "config.h", "all KDIR={kit}"),
        ("config.h:\n\ttouch $@\nall: config.h\n", "config.h", "all"),
        ("ifdef X\nA := 1\nendif\n\nbuild: config.h\nconfig.h: Makefile\n", "config.h", "build"),
        # An assignment is no rule.
        ("x := config.h\nconfig.h := y\n", "config.h", ""),
        ("", "config.h", ""),
    ],
)
def test_the_goal_and_the_kernels_folder_are_named(makefile: str, missing: str, words: str) -> None:
    assert make_for(makefile, missing) == words
