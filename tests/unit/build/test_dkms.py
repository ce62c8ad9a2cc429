"""What is taken from a dkms.conf, in the forms in which people write them."""

from __future__ import annotations

import pytest

from kmodpipe.build import dkms
from kmodpipe.build.dkms import DkmsModule
from kmodpipe.util.errors import UserError

HEAD = 'PACKAGE_NAME="hello"\nPACKAGE_VERSION="1.2"\n'


def make(line: str) -> tuple[tuple[str, ...] | None, str]:
    found = dkms.read(f"{HEAD}{line}\n")
    assert found.environment == ()
    return found.arguments, found.folder


def test_a_whole_file() -> None:
    found = dkms.read(
        """
# DKMS of hello
PACKAGE_NAME="hello"
PACKAGE_VERSION="1.2"
BUILT_MODULE_NAME[0]="$PACKAGE_NAME"
BUILT_MODULE_LOCATION[0]="src/"
BUILT_MODULE_NAME[1]="hello-extra"
DEST_MODULE_LOCATION[0]="/updates/$(lsb_release -is)"
DEST_MODULE_LOCATION[1]="/updates"
MAKE[0]="make -C src KDIR=$kernel_source_dir"
CLEAN="make clean; rm -f x"
BUILD_DEPENDS[0]="other"
BUILD_EXCLUSIVE_KERNEL="^(5\\.1[0-9]|6)\\."
BUILD_EXCLUSIVE_CONFIG="CONFIG_NET !CONFIG_LOCKDEP"
PATCH[0]="old.patch"
PRE_BUILD="configure.sh $kernelver"
AUTOINSTALL="yes"
"""
    )
    assert (found.name, found.version) == ("hello", "1.2")
    assert found.modules == (DkmsModule("hello", "src"), DkmsModule("hello-extra", "."))
    assert found.arguments == ("KERNELRELEASE={release}", "-C", "src", "KDIR={kit}")
    assert found.depends == ("other",)
    assert [note.split(": ")[0] for note in found.notes] == ["dkms.conf:15", "dkms.conf:16"]
    assert found.excluded("6.1.0-1", {"NET": "y"}) == ""
    assert found.excluded("4.19.0", {"NET": "y"}) == r"dkms.conf is for kernels like ^(5\.1[0-9]|6)\."
    assert found.excluded("5.10.0", {}) == "dkms.conf is for kernels with CONFIG_NET"
    assert "without CONFIG_LOCKDEP" in found.excluded("5.10.0", {"NET": "m", "LOCKDEP": "y"})


def test_the_shortest_file_is_built_by_kbuild() -> None:
    found = dkms.read(HEAD)
    assert (found.modules, found.arguments, found.folder) == ((DkmsModule("hello", "."),), None, ".")


@pytest.mark.parametrize(
    "line",
    [
        'MAKE[0]="make -C $kernel_source_dir M=$dkms_tree/$module/$module_version/build"',
        'MAKE="make -C ${kernel_source_dir} M=${dkms_tree}/${PACKAGE_NAME}/${PACKAGE_VERSION}/build modules"',
        "MAKE[0]='make -C ${kernel_source_dir} SUBDIRS=${dkms_tree}/hello/1.2/build modules'",
        'MAKE[0]="make -j$(nproc) -C /lib/modules/$kernelver/build M=$(pwd)"',
        "MAKE[0]=\"'make' -C /lib/modules/${kernelver}/source M=$PWD -j`nproc`\"",
    ],
)
def test_kbuilds_own_form_is_known(line: str) -> None:
    assert make(line) == (None, ".")


def test_a_folder_of_kbuilds_form_is_kept() -> None:
    line = 'MAKE="make -C $kernel_source_dir M=$dkms_tree/$module/$module_version/build/src/"'
    assert make(line) == (None, "src")


@pytest.mark.parametrize(
    ("line", "arguments"),
    [
        # Unquoted, DKMS gives make the release.
        ('MAKE="make"', ("KERNELRELEASE={release}",)),
        ("MAKE=\"'make' KVER=${kernelver} all\"", ("KVER={release}", "all")),
        ("MAKE=\"'make' KDIR=/lib/modules/${kernelver}/build\"", ("KDIR={kit}",)),
        ("MAKE=\"'make' 'A=b c' SRC=${source_tree}/hello-1.2/x\"", ("A=b c", "SRC={obj}/x")),
        ("KDIR=/lib/modules/$kernelver/build\nMAKE=\"'make' KDIR=$KDIR\"", ("KDIR={kit}",)),
        ("MAKE=\"'make' -C $kernel_source_dir M=$PWD A=1\"", ("-C", "{kit}", "M={obj}", "A=1")),
    ],
)
def test_the_modules_own_makefile(line: str, arguments: tuple[str, ...]) -> None:
    assert make(line) == (arguments, ".")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('MAKE="cd src && make"', "only a shell can run"),
        ('MAKE="./configure; make"', "only a shell can run"),
        ('MAKE="./build.sh"', "runs './build.sh' and not make"),
        ('MAKE=""', "runs 'nothing' and not make"),
        ('MAKE="make X=$(cat version)"', "MAKE has $(cat version), which only a shell can compute"),
        ("MAKE='make X=`cat version`'", "only a shell can compute"),
        ('MAKE="make X=${Y:-1}"', "only a shell can compute"),
        ('MAKE="make \'x"', "cannot be read"),
        ('MAKE="make X=$dkms_tree/other/1/build"', "folder of DKMS's own"),
        ("BUILT_MODULE_NAME=$(ls)", "BUILT_MODULE_NAME has $(ls)"),
        ("BUILT_MODULE_NAME=../x", "no module can have the name"),
        ("BUILT_MODULE_LOCATION=../x", "not below the module's source"),
        ("BUILD_EXCLUSIVE_KERNEL='['", "cannot be used"),
        ("BUILD_EXCLUSIVE_KERNEL='^(a+)+$'", "it repeats a group"),
        ("if true; then MAKE=make; fi", "MAKE has if … of line 3, which only a shell can compute"),
        ("exit 1", "only a shell can run: exit 1"),
    ],
)
def test_what_needs_a_shell_is_refused_with_its_line(line: str, said: str) -> None:
    with pytest.raises(UserError) as caught:
        make(line)
    assert said in caught.value.what
    assert caught.value.where == "dkms.conf:3"


def test_a_condition_about_the_kernel_is_left_out_with_a_note() -> None:
    text = (
        "if [ -f $kernel_source_dir/.config ]; then\n    . $kernel_source_dir/.config\n"
        '    BUILD_EXCLUSIVE_KERNEL="REQUIRES CONFIG_X"\nfi\n'
    )
    found = dkms.read(f"{HEAD}{text}")
    assert found.kernel == ""
    assert found.notes == ("dkms.conf:3: BUILD_EXCLUSIVE_KERNEL is not used: only a shell can compute it",)


def test_the_oldest_and_the_newest_kernel() -> None:
    found = dkms.read(f"{HEAD}BUILD_EXCLUSIVE_KERNEL_MIN=5.10\nBUILD_EXCLUSIVE_KERNEL_MAX=6.1.99\n")
    assert found.excluded("5.10.0-32-amd64", {}) == found.excluded("6.1.0-18-amd64", {}) == ""
    assert found.excluded("5.4.0", {}) == "dkms.conf is for kernels from 5.10 on"
    assert found.excluded("6.2.0", {}) == "dkms.conf is for kernels up to 6.1.99"


def test_a_package_has_a_name() -> None:
    with pytest.raises(UserError, match="no PACKAGE_NAME"):
        dkms.read("A=b\n")


@pytest.mark.parametrize("version", ["$(cat VERSION)", "`git describe`", "${X%.*}"])
def test_a_version_that_a_shell_computes_does_not_matter(version: str) -> None:
    head = f'PACKAGE_NAME="hello"\nPACKAGE_VERSION="{version}"\n'
    build = "${dkms_tree}/${PACKAGE_NAME}/${PACKAGE_VERSION}/build/src"
    found = dkms.read(f'{head}MAKE="make -C $kernel_source_dir M={build}"\n')
    assert (found.name, found.version, found.arguments, found.folder) == ("hello", "", None, "src")
    for line in ('MAKE="make V=$PACKAGE_VERSION"', 'MAKE="V=$module_version make"'):
        with pytest.raises(UserError, match="MAKE uses PACKAGE_VERSION"):
            dkms.read(f"{head}{line}\n")


def test_variables_before_make_are_its_environment() -> None:
    line = "MAKE=\"KDIR=/lib/modules/${kernelver}/build 'A=b c' make -j4 all\"\n"
    found = dkms.read(f"{HEAD}{line}")
    assert found.environment == ("KDIR={kit}", "A=b c")
    # DKMS adds the release to a command that begins with make alone.
    assert found.arguments == ("all",)


@pytest.mark.parametrize(
    "lines",
    [
        "JOBS=`nproc`\n[ $JOBS -gt 16 ] && JOBS=16\nMAKE=\"'make' -j$JOBS KVER=${kernelver}\"",
        "[[ -n $X ]] && JOBS=2 || JOBS=1  # all\nMAKE=\"'make' --jobs=${JOBS} KVER=${kernelver}\"",
        "MAKE=\"'make' -j$(expr 1 + 1) KVER=$kernelver\"",
        "test -d /x && A=1\nMAKE=\"'make' -j $(expr 1 + 1) KVER=$kernelver\"",
    ],
)
def test_how_many_jobs_a_shell_computes_does_not_matter(lines: str) -> None:
    assert make(lines) == (("KVER={release}",), ".")


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ('A=1\n[ -d /x ] && A=2\nMAKE="make A=$A"', "MAKE has [ -d /x ] && A"),
        ("[ -d /x ] && . ./x", "a statement that only a shell can run"),
        ("[ -d /x ] && A=1 && touch y", "a statement that only a shell can run"),
        ("[ -d /x ] && A=$(touch y) rm z", "a statement that only a shell can run"),
    ],
)
def test_a_condition_makes_a_variable_unknown_and_nothing_else(lines: str, said: str) -> None:
    with pytest.raises(UserError) as caught:
        make(lines)
    assert said in caught.value.what
