"""The CI files that `init` writes: they stand on the package index alone, and have nothing to fill in.

docs/ci has the shorter forms, an action and a component, which need the address of kmodpipe's repository.
"""

from __future__ import annotations

from collections.abc import Mapping

_GITHUB = """\
# Written by `kmodpipe init`: what kmodpipe.toml says, on each push and pull request.
name: kmodpipe
on: [push, pull_request]
permissions:
  contents: read
jobs:
  kmodpipe:
    runs-on: ubuntu-latest
    timeout-minutes: 60
    env:
      # The runner is no Debian, whose kernels are tested: set this variable of the repository to the
      # address of a mirror of its archive.
      KMODPIPE_DEBIAN_MIRROR: ${{ vars.KMODPIPE_DEBIAN_MIRROR }}
    steps:
      - uses: actions/checkout@v4
        # What a pull request is compared with is in the history.
        with: {fetch-depth: 0}
      - uses: actions/setup-python@v5
        with: {python-version: "3.12"}
      - uses: actions/cache@v4
        with:
          path: |
            ~/.cache/kmodpipe/downloads
            ~/.cache/kmodpipe/kernels
          key: kmodpipe-${{ hashFiles('kmodpipe.toml', 'pyproject.toml') }}
      - run: pip install --quiet kmodpipe
      # The runner has KVM, but not for everybody.
      - run: if [ -e /dev/kvm ]; then sudo chmod a+rw /dev/kvm; fi
      - run: kmodpipe setup --yes
      # It adds to the job's summary what it found.
      - run: kmodpipe ci --junit out/junit.xml
      - uses: actions/upload-artifact@v4
        if: always()
        with:
          name: kmodpipe
          path: |
            out
            !out/latest/**
          if-no-files-found: ignore
"""
_GITLAB = """\
# Written by `kmodpipe init`: what kmodpipe.toml says, on each push and merge request.
kmodpipe:
  stage: test
  image: debian:bookworm
  # The engine in which modules are built. With an empty name there is none: the runner has its own.
  services:
    - name: $KMODPIPE_ENGINE
      alias: docker
      command: [--host=tcp://0.0.0.0:2375, --tls=false]
  variables:
    KMODPIPE_ENGINE: docker:28-dind
    DEBIAN_FRONTEND: noninteractive
    # What a merge request is compared with is in the history.
    GIT_DEPTH: "0"
    # Below the checkout: the engine sees this folder, and GitLab caches no other.
    KMODPIPE_CACHE: $CI_PROJECT_DIR/.kmodpipe
  cache:
    key: kmodpipe
    when: always
    paths: [.kmodpipe/downloads, .kmodpipe/kernels]
  before_script:
    - |
      if getent hosts docker > /dev/null; then
        export DOCKER_HOST=tcp://docker:2375
        apt-get -q update && apt-get -q install -y --no-install-recommends python3-venv git ca-certificates
      fi
    - python3 -m venv .kmodpipe/venv && echo "*" > .kmodpipe/.gitignore
    - .kmodpipe/venv/bin/pip install --quiet kmodpipe
    - export PATH="$PWD/.kmodpipe/venv/bin:$PATH"
    - kmodpipe setup --yes
  script:
    - kmodpipe ci --junit out/junit.xml
  artifacts:
    when: always
    expire_in: 4 weeks
    paths: [out]
    # A large run has parts, junit-2.xml and so on.
    reports: {junit: "out/junit*.xml"}
"""
_TEXTS: Mapping[str, str] = {"github": _GITHUB, "gitlab": _GITLAB}
GITLAB = ".gitlab-ci.yml"
"""The file of GitLab's, of which a repository has one."""
_NAMES: Mapping[str, str] = {"github": ".github/workflows/kmodpipe.yml", "gitlab": GITLAB}
_GITLAB_PART = ".gitlab/kmodpipe.yml"
NONE = "none"
CI = (*_TEXTS, NONE)
"""The CIs for which there is a file, and the word for no such file."""


def file(ci: str, *, taken: bool) -> tuple[str, str]:
    """Return the name and the text of a CI's file; of another name if GitLab's own is ``taken``."""
    return _GITLAB_PART if taken and ci == "gitlab" else _NAMES[ci], _TEXTS[ci]


def included() -> str:
    """Return the line that takes GitLab's part into the file that was there."""
    return f"include: {{local: {_GITLAB_PART}}}"
