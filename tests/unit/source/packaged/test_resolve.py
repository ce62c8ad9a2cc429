"""Which packages make a kernel, of what ``apt-cache show`` says."""

from __future__ import annotations

import pytest

from kmodpipe.source.packaged import resolve
from kmodpipe.source.packaged.record import PackagedKernelSpec
from kmodpipe.util.errors import UserError


def package(name: str, version: str, depends: str = "") -> str:
    more = f"Depends: {depends}\n" if depends else ""
    return f"Package: {name}\nSource: linux\nVersion: {version}\n{more}Description: Depends: x\n\n"


def kernel(release: str, version: str, abi: str = "", kbuild: str = "") -> str:
    """A kernel as it was packaged until 6.12."""
    abi = abi or release.removesuffix("-amd64")
    kbuild = kbuild or f"linux-kbuild-{abi}"
    image = f"linux-image-{release} (= {version}) | linux-image-{release}-unsigned (= {version})"
    return (
        package(f"linux-image-{release}", version, "kmod, linux-base (>= 4.3~), initramfs-tools | dracut")
        + package(
            f"linux-headers-{release}",
            version,
            f"linux-base (>= 4.12~), linux-headers-{abi}-common (= {version}), {image}, {kbuild}, gcc-12",
        )
        + package(f"linux-headers-{abi}-common", version)
        + package(f"linux-kbuild-{abi}", version, "libc6, pahole")
        + package(f"linux-image-{release}-dbg", version)
    )


ARCHIVE = (
    package("linux-image-amd64", "6.1.192-3", "linux-image-6.1.0-57-amd64 (= 6.1.192-3)")
    + package("linux-image-amd64", "6.1.176-1", "linux-image-6.1.0-50-amd64 (= 6.1.176-1)")
    + package("linux-image-6.12-amd64", "6.12.117-1", "linux-image-6.12.117+deb12-amd64 (= 6.12.117-1)")
    + kernel("6.1.0-57-amd64", "6.1.192-3", kbuild="linux-kbuild-6.1 (>= 6.1.192-3)")
    + kernel("6.1.0-56-amd64", "6.1.190-1", kbuild="linux-kbuild-6.1 (>= 6.1.190-1)")
    + kernel("6.1.0-50-amd64", "6.1.176-1", kbuild="linux-kbuild-6.1 (>= 6.1.176-1)")
    + kernel("6.12.117+deb12-amd64", "6.12.117-1")
    + kernel("6.12.115+deb12-rt-amd64", "6.12.115-1")
    + package("linux-kbuild-6.1", "6.1.192-3")
    + package("linux-kbuild-6.1", "6.1.176-1")
    # Without its headers, which the archive has dropped.
    + package("linux-image-6.1.0-48-amd64", "6.1.172-1")
)
SPLIT = (
    package("linux-image-amd64", "7.2.13-1", "linux-base-amd64, linux-image-7.2.13-amd64 (= 7.2.13-1)")
    + package(
        "linux-image-7.2.13-amd64",
        "7.2.13-1",
        "dracut, linux-base-7.2.13-amd64 (= 7.2.13-1), linux-binary-7.2.13-amd64, linux-modules-7.2.13-amd64",
    )
    + "".join(package(f"linux-{part}-7.2.13-amd64", "7.2.13-1") for part in ("base", "binary", "modules"))
    + package("linux-headers-7.2.13-amd64", "7.2.13-1", "gcc-16-for-host, linux-headers-7.2.13-common")
    + package("linux-headers-7.2.13-common", "7.2.13-1")
)  # fmt: skip


def spec(
    package: str = "linux-image-amd64", version: str | None = None, **more: object
) -> PackagedKernelSpec:
    given = {"name": "k", "debian-kernel": package, "suites": ["bookworm"], "version": version, **more}
    return PackagedKernelSpec.model_validate(given)


@pytest.mark.parametrize(
    ("given", "image", "versions"),
    [
        (spec(), "linux-image-6.1.0-57-amd64", {"6.1.192-3"}),
        (spec(version="6.1.176-1"), "linux-image-6.1.0-50-amd64", {"6.1.176-1"}),
        # The metapackage has moved on, the kernel is still there; its kbuild is that of another one.
        (spec(version="6.1.190-1"), "linux-image-6.1.0-56-amd64", {"6.1.190-1", "6.1.192-3"}),
        (spec("linux-image-6.1.0-50-amd64"), "linux-image-6.1.0-50-amd64", {"6.1.176-1"}),
        (spec("linux-image-6.12-amd64"), "linux-image-6.12.117+deb12-amd64", {"6.12.117-1"}),
        (spec("linux-image-6.12.115+deb12-rt-amd64"), "linux-image-6.12.115+deb12-rt-amd64", {"6.12.115-1"}),
    ],
)
def test_an_image_comes_with_its_headers_and_kbuild(
    given: PackagedKernelSpec, image: str, versions: set[str]
) -> None:
    found = resolve.resolve(given, resolve.parse(ARCHIVE))
    assert found.image == image and set(found.packages.values()) == versions
    kinds = sorted(name.split("-")[1] + name.endswith("-common") * "-common" for name in found.packages)
    assert kinds == ["headers", "headers-common", "image", "kbuild"]


def test_debugging_information_is_taken_on_request() -> None:
    found = resolve.resolve(spec(debug=True), resolve.parse(ARCHIVE))
    assert "linux-image-6.1.0-57-amd64-dbg" in found.packages


def test_an_image_in_parts_is_put_together() -> None:
    found = resolve.resolve(spec(), resolve.parse(SPLIT))
    assert found.image == "linux-image-7.2.13-amd64"
    assert sorted(name.split("-")[1] for name in found.packages) == [
        "base", "binary", "headers", "headers", "image", "modules",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("given", "what", "hint"),
    [
        (spec(version="6.1.90-1"), r"no linux-image-amd64 6.1.90-1 in bookworm \(any more\)",
         "it has 6.12.117-1, 6.1.192-3, 6.1.190-1, 6.1.176-1"),
        (spec("linux-image-6.12-amd64", "6.1.190-1"), "no linux-image-6.12-amd64 6.1.19", "has 6.12.117-1"),
        (spec("linux-image-amd46"), "no package linux-image-amd46 in .*did you mean linux-image-amd64",
         "no kernel of that kind"),
        (spec("linux-image-6.1.0-37-amd64"), "no package linux-image-6.1.0-37-amd64",
         "it has linux-image-6.12.117[+]deb12-amd64, linux-image-6.1.0-57-amd64, linux-image-6.1.0-56"),
        (spec("linux-image-6.1.0-48-amd64"), "has linux-image-6.1.0-48-amd64 6.1.172-1, but not its headers",
         "linux-image-6.1.0-57-amd64"),
        (spec("linux-image-6.1.0-57-amd64", "6.1.1-1"), "no linux-image-6.1.0-57-amd64 6.1.1-1", "6.1.192-3"),
    ],
)  # fmt: skip
def test_what_the_archive_does_not_have_is_said_with_what_it_has(
    given: PackagedKernelSpec, what: str, hint: str
) -> None:
    with pytest.raises(UserError, match=what) as caught:
        resolve.resolve(given, resolve.parse(ARCHIVE))
    assert caught.match(hint) and caught.value.where == "kernel k"


def test_a_part_that_is_gone_is_named() -> None:
    gone = resolve.parse(SPLIT.replace("Package: linux-modules-", "Package: linux-m-"))
    with pytest.raises(
        UserError, match=r"no linux-modules-7.2.13-amd64 7.2.13-1, which linux-image-7.2.13-amd64"
    ):
        resolve.resolve(spec(), gone)


def test_only_kernel_packages_are_asked_for() -> None:
    names = ["linux-image-amd64", "linux-image-1-amd64-dbg", "linux-image-1-amd64-unsigned", "linux-libc-dev",
             "linux-kbuild-6.1", "linux-compiler-gcc-12-x86"]  # fmt: skip
    assert resolve.wanted(names, debug=False) == ["linux-image-amd64", "linux-kbuild-6.1"]
    assert "linux-image-1-amd64-dbg" in resolve.wanted(names, debug=True)


EXTRA = "linux-modules-extra-5.15.0-130-generic"
UBUNTU = (
    package(
        "linux-image-generic-hwe-22.04",
        "6.8.0-51.52~22.04.1",
        "linux-image-6.8.0-51-generic, linux-modules-extra-6.8.0-51-generic, linux-firmware, amd64-microcode",
    )
    + package("linux-image-generic", "5.15.0.130.128", f"linux-image-5.15.0-130-generic, {EXTRA}")
    + package("linux-image-virtual", "5.15.0.130.128", "linux-image-5.15.0-130-generic")
    + "".join(
        package(f"linux-image-{release}", version, f"kmod, linux-base, linux-modules-{release}")
        + package(f"linux-image-unsigned-{release}", version, f"kmod, linux-base, linux-modules-{release}")
        + package(f"linux-modules-{release}", version, "wireless-regdb")
        + package(f"linux-modules-extra-{release}", version, f"linux-modules-{release}")
        + package(f"linux-headers-{release}", version, f"{common}, libc6 (>= 2.34), gcc-12")
        + package(common, version, "coreutils | busybox")
        for release, version, common in (
            ("5.15.0-130-generic", "5.15.0-130.140", "linux-headers-5.15.0-130"),
            ("5.15.0-119-generic", "5.15.0-119.129", "linux-headers-5.15.0-119"),
            ("6.8.0-51-generic", "6.8.0-51.52~22.04.1", "linux-hwe-6.8-headers-6.8.0-51"),
        )
    )
)  # fmt: skip


@pytest.mark.parametrize(
    ("given", "version", "image", "has", "lacks"),
    [
        (
            "linux-image-generic", None, "linux-image-5.15.0-130-generic",
            (EXTRA, "linux-headers-5.15.0-130"), "",
        ),
        ("linux-image-virtual", None, "linux-image-5.15.0-130-generic", (), EXTRA),
        (
            "linux-image-generic-hwe-22.04", None, "linux-image-6.8.0-51-generic",
            ("linux-hwe-6.8-headers-6.8.0-51", "linux-modules-extra-6.8.0-51-generic"), EXTRA,
        ),
        # An image by itself, of which the metapackage names another version.
        (
            "linux-image-generic", "5.15.0-119.129", "linux-image-5.15.0-119-generic",
            ("linux-modules-extra-5.15.0-119-generic",), EXTRA,
        ),
        (
            "linux-image-unsigned-5.15.0-130-generic", None, "linux-image-unsigned-5.15.0-130-generic",
            (EXTRA,), "",
        ),
    ],
)  # fmt: skip
def test_ubuntus_packages_are_found_by_their_kernels_name(
    given: str, version: str | None, image: str, has: tuple[str, ...], lacks: str
) -> None:
    declared = PackagedKernelSpec.model_validate(
        {"name": "k", "ubuntu-kernel": given, "suites": ["jammy"], "version": version}
    )
    archive = resolve.parse(UBUNTU)
    assert set(archive.packages) <= {*resolve.wanted(archive.packages, debug=False)}
    found = resolve.resolve(declared, archive)
    release = image.removeprefix("linux-image-").removeprefix("unsigned-")
    assert found.image == image and resolve.release_of(image) == release
    assert {f"linux-headers-{release}", f"linux-modules-{release}", *has} <= {*found.packages}
    assert lacks not in found.packages and "linux-firmware" not in found.packages


def test_a_version_that_ubuntus_archive_does_not_have_names_those_that_it_has() -> None:
    declared = PackagedKernelSpec.model_validate(
        {"name": "k", "ubuntu-kernel": "linux-image-generic", "suites": ["jammy"], "version": "5.15.0-1.1"}
    )
    with pytest.raises(UserError, match=r"no linux-image-generic 5\.15\.0-1\.1 in jammy") as caught:
        resolve.resolve(declared, resolve.parse(UBUNTU))
    assert "5.15.0-130.140, 5.15.0.130.128, 5.15.0-119.129" in caught.value.hint
