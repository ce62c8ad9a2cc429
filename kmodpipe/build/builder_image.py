"""Find or build a builder image, which is named by the digest of its recipe.

    kmodpipe-builder:<digest12>     images/builder/Dockerfile on top of a base:
    debian:bookworm-slim            the base if a registry answers (or the engine has it already)
    kmodpipe-base:bookworm          the base if none does, bootstrapped from this machine's apt sources

It builds kernels, guests and modules. The headers of another release's kernels ask for its compiler, and
have host tools that need its libraries; an image for their modules alone is made when a run needs it:

    kmodpipe-builder:<release>-<digest12>     images/external/Dockerfile on top of the release's base

That release may be another distribution's (`source.distribution`), and its packages those of a declared
archive.

The digest covers the Dockerfile and `RECIPE`, not the base: a label says which of the two bases an image has,
and the cache keys of what is built in it contain the image's id. Older builder images stay until
`image_cleanup.remove_old`: another clone of the project may use them.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kmodpipe.build.image_build import LOOK_AT_IT, build_image, follow, wrapped
from kmodpipe.build.runtime import docker_errors
from kmodpipe.cache.store import Store
from kmodpipe.source import apt, distribution
from kmodpipe.source.distribution import AptSource
from kmodpipe.util import shipped
from kmodpipe.util.digest import digest_of
from kmodpipe.util.errors import InfraError
from kmodpipe.util.files import require_space
from kmodpipe.util.lock import lock
from kmodpipe.util.text import visible

if TYPE_CHECKING:
    from docker import DockerClient

    from kmodpipe.util.screen import Screen

# The version of the code below: raise it when a new image must differ from those built before.
RECIPE = 1

RELEASE = "bookworm"
RELEASES = tuple(name for one in distribution.ALL for name in one.releases)
LABEL = "org.kmodpipe.image"
BASE_LABEL = "org.kmodpipe.base"
_NEED_MIB = 2048
_REGISTRY_TIMEOUT_S = 8


@dataclass(frozen=True)
class Names:
    """The repository names of the images; tests use their own."""

    builder: str = "kmodpipe-builder"
    base: str = "kmodpipe-base"


def base_of(release: str = RELEASE) -> str:
    """Return the name that registries have a release's base under. Raise UserError for an unknown one."""
    return distribution.of(release).image.format(release)


def described(release: str) -> str:
    """Return what messages call a release's image."""
    return "the builder image" if release == RELEASE else f"the builder image of {release}"


def require_known(release: str, packages: AptSource | None) -> None:
    """Raise UserError for a release that is none, unless its archive is declared: that may have others."""
    if not packages or not packages.archive:
        distribution.of(release)


def dockerfile(images_dir: Path, release: str = RELEASE) -> bytes:
    """Return the Dockerfile of a release's image.

    Raises InfraError if the file cannot be read: the checkout is damaged.
    """
    folder = images_dir / "builder" if release == RELEASE else shipped.part(images_dir, "external")
    path = folder / "Dockerfile"
    try:
        return path.read_bytes()
    except OSError as e:
        raise InfraError("the builder's Dockerfile cannot be read", where=str(path), hint=str(e)) from e


def tag(images_dir: Path, names: Names | None = None, release: str = RELEASE) -> str:
    """Return the name of this checkout's image: ``kmodpipe-builder:<digest12>`` for `RELEASE`."""
    text = dockerfile(images_dir, release).decode("utf-8", "replace")
    digest = digest_of({"dockerfile": text, "recipe": RECIPE, "suite": release})
    return f"{(names or Names()).builder}:{'' if release == RELEASE else f'{release}-'}{digest[:12]}"


def find(
    client: DockerClient, images_dir: Path, *, names: Names | None = None, release: str = RELEASE
) -> str | None:
    """Return the id (``sha256:…``) of this checkout's image, None if the engine does not have it.

    Takes milliseconds and needs no network.
    """
    return image_id(client, tag(images_dir, names, release))


def ensure(
    client: DockerClient,
    images_dir: Path,
    cache: Path,
    screen: Screen,
    *,
    names: Names | None = None,
    release: str = RELEASE,
    registry_base: str = "",
    packages: AptSource | None = None,
) -> str:
    """Return the id of a release's builder image; build it first if it does not exist (about a minute).

    ``registry_base`` is the name of its base in registries if that is another than `base_of`; ``packages`` is
    where the release's packages come from, if that is not this machine's mirror of Debian.

    A lock makes sure that of several processes only one builds it. Raises UserError for a release that is
    none, InfraError with the last lines of the log and its path.
    """
    names = names or Names()
    require_known(release, packages)
    if release in RELEASES:
        registry_base = registry_base or base_of(release)
    found = find(client, images_dir, names=names, release=release)
    if found:
        return found
    what = described(release)
    log = cache / "logs" / ("builder-image.log" if release == RELEASE else f"builder-image-{release}.log")
    log.parent.mkdir(parents=True, exist_ok=True)
    with lock(cache / "locks" / "builder-image", waiting=screen.say):
        found = find(client, images_dir, names=names, release=release)
        if found:
            return found
        require_space(cache, _NEED_MIB, what)
        log.write_bytes(b"")
        name, kind = _base(client, cache, screen, log, names, registry_base, release, packages)
        with screen.step(f"build {what}") as step:
            build_image(
                client,
                dockerfile(images_dir, release),
                tag(images_dir, names, release),
                name,
                {LABEL: "builder", BASE_LABEL: kind},
                step,
                log,
            )
        made = find(client, images_dir, names=names, release=release)
    if made is None:
        raise InfraError(f"the engine built {what}, but does not list it", where=str(log), hint=LOOK_AT_IT)
    return made


def image_id(client: DockerClient, name: str) -> str | None:
    """Return the id of the image of that name, None if the engine does not have it."""
    from docker.errors import ImageNotFound

    with wrapped(f"looking for {name}"), suppress(ImageNotFound):
        return str(client.images.get(name).id)
    return None


# -- the base --------------------------------------------------------------------------------------
def _base(
    client: DockerClient,
    cache: Path,
    screen: Screen,
    log: Path,
    names: Names,
    base: str,
    release: str,
    packages: AptSource | None,
) -> tuple[str, str]:
    """Return the name of a base image that the engine has now, and its source: registry or bootstrap."""
    own = f"{names.base}:{release}"
    # An image that the engine has needs no network, and a rebuild on the same base gives the same tools.
    if base and image_id(client, base):
        return base, "registry"
    if image_id(client, own):
        return own, "bootstrap"
    refusal = _pull(client, base, screen, log) if base else "it is no release that is known"
    if not refusal:
        return base, "registry"
    source = _elsewhere(release, packages)
    place = "the kernel's archive" if source and source.archive else "this machine's apt sources"
    screen.say(f"no registry has {base or own} ({refusal}): bootstrapping a base from {place}")
    _bootstrap(client, cache, screen, log, own, refusal, source)
    return own, "bootstrap"


def _elsewhere(release: str, packages: AptSource | None) -> AptSource | None:
    """Return where a release's packages come from; None is this machine's mirror of Debian's archive."""
    if release in distribution.DEBIAN.releases:
        here = not packages or not packages.archive or apt.debian_sources(apt.targets(), release)
        return None if here else packages
    if release in distribution.UBUNTU.releases:
        suites = tuple(f"{release}{pocket}" for pocket in ("-updates", "-security", ""))
        own = AptSource(distribution.UBUNTU, suites)
        return own if own.mirrors() or not packages else packages
    return packages


def _pull(client: DockerClient, name: str, screen: Screen, log: Path) -> str:
    """Pull an image. Return '' on success, else the reason; at most seconds if no registry can be reached."""
    from requests.exceptions import Timeout

    repository, _, version = name.partition(":")
    with screen.step(f"pull {name}") as step:
        # A pull has no time limit, neither in the SDK nor in the engine, where an address that does not
        # answer costs minutes. A request for the digest uses the same connection, and can be limited.
        was, client.api.timeout = client.api.timeout, _REGISTRY_TIMEOUT_S
        try:
            client.images.get_registry_data(name)
        except Timeout:
            refusal = f"no answer within {_REGISTRY_TIMEOUT_S} s"
        except docker_errors.sdk_errors() as e:
            refusal = _reason(e)
        else:
            refusal = ""
        finally:
            client.api.timeout = was
        if not refusal:
            try:
                events = client.api.pull(repository, tag=version, stream=True, decode=True)
                follow(events, log, lambda e: step.update(f"{e.get('status', '')} {e.get('id', '')}"))
            except docker_errors.sdk_errors(InfraError) as e:
                refusal = _reason(e)
        step.finish("not available" if refusal else "done")
    return refusal


def _reason(error: Exception) -> str:
    text = str(getattr(error, "explanation", "") or error).strip() or type(error).__name__
    return visible(text.splitlines()[0].rsplit(": ", 1)[-1][:120])


def _bootstrap(
    client: DockerClient,
    cache: Path,
    screen: Screen,
    log: Path,
    name: str,
    refusal: str,
    source: AptSource | None,
) -> None:
    repository, _, version = name.partition(":")
    with screen.step(f"bootstrap {name}") as step:
        try:
            with (
                wrapped("importing the base image", str(log)),
                Store(cache).scratch("base-") as folder,
            ):
                # To a file first: an interrupted stream must not become an image.
                if source is None:
                    apt.bootstrap(version, folder / "base.tar", log=log)
                else:
                    chosen = ((suite, uris[0]) for suite, uris in source.mirrors().items())
                    apt.bootstrap(
                        version,
                        folder / "base.tar",
                        log=log,
                        sources=source.sources(chosen),
                        keyring=source.keys,
                        distribution=source.distribution.name,
                    )
                step.update("importing")
                client.api.import_image_from_file(
                    str(folder / "base.tar"),
                    repository=repository,
                    tag=version,
                    changes=[f"LABEL {LABEL}=base"],
                )
        except InfraError as e:
            e.what = f"no base image: no registry has one ({refusal}), and {e.what}"
            raise
    if image_id(client, name) is None:
        raise InfraError(
            "the engine imported the base image, but does not list it",
            where=str(log),
            hint=LOOK_AT_IT,
        )
