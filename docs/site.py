"""A hook of mkdocs: the files of the repository that pages link to are part of the site, below repository/.

A link such as ``../CONTRIBUTING.md`` or ``../examples/hello`` is right in the repository, where pages are
read as plain Markdown. On the site its target is a page (a Markdown file, or a folder, shown file by file) or
the file itself.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
_LINK = re.compile(r"(\]\()([^)\s#]+)((?:#[^)\s]*)?\))")
_CODE = re.compile(r"^(?: {4}|```)")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Name files above docs/ in the navigation by their place on the site."""
    config.nav = _renamed(config.nav)
    return config


def _renamed(nav: object) -> object:
    if isinstance(nav, list):
        return [_renamed(one) for one in nav]
    if isinstance(nav, dict):
        return {title: _renamed(one) for title, one in nav.items()}
    return _place(nav[3:]) if isinstance(nav, str) and nav.startswith("../") else nav


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add each file outside docs/ that a page, or a page so added, links to."""
    waiting = [(f"docs/{one.src_uri}", one.content_string) for one in files if one.src_uri.endswith(".md")]
    waiting += [
        ("docs/README.md", f"]({path})") for path in _strings(config.nav) if path.startswith("repository/")
    ]
    waiting = [(page, text.replace("](repository/", "](../")) for page, text in waiting]
    while waiting:
        page, text = waiting.pop()
        for target in _targets(page, text):
            path = _file(target)
            if target.startswith("docs/") or not path.exists() or files.get_file_from_path(_place(target)):
                continue
            content = _content(path)
            added = File.generated(config, _place(target), content=content)
            files.append(added)
            if isinstance(content, str):
                waiting.append((path.relative_to(ROOT).as_posix(), content))
    return files


def on_page_markdown(markdown: str, *, page: object, config: MkDocsConfig, files: Files) -> str:
    """Lead links to where their targets are on the site."""
    here = page.file.src_uri  # type: ignore[attr-defined]
    if here.startswith(("repository/", "findings", "architecture")):
        # Who searches looks for a way to do something first.
        page.meta["search"] = {"boost": 0.3}  # type: ignore[attr-defined]
    source = _source(here)

    def led(found: re.Match[str]) -> str:
        target = _resolved(source, found[2])
        if target is None:
            return found[0]
        place = target.removeprefix("docs/") if target.startswith("docs/") else _place(target)
        return f"{found[1]}{posixpath.relpath(place, posixpath.dirname(here) or '.')}{found[3]}"

    return "\n".join(line if _CODE.match(line) else _LINK.sub(led, line) for line in markdown.splitlines())


# -- places -----------------------------------------------------------------------------------------
def _strings(nav: object) -> list[str]:
    if isinstance(nav, dict):
        nav = list(nav.values())
    return [text for one in nav for text in _strings(one)] if isinstance(nav, list) else [str(nav)]


def _resolved(source: str, link: str) -> str | None:
    """Return the path in the repository that a link in a file of it leads to, None if it leads elsewhere."""
    if "://" in link or link.startswith(("mailto:", "/")):
        return None
    return posixpath.normpath(posixpath.join(posixpath.dirname(source), link))


def _targets(page: str, text: str) -> list[str]:
    found = (_resolved(page, one[2]) for one in _LINK.finditer(text))
    return [one for one in found if one and not one.startswith("..")]


def _file(target: str) -> Path:
    """Return the file that is shown for a target: of a folder its README.md, else the folder."""
    path = ROOT / target
    return path / "README.md" if (path / "README.md").is_file() else path


def _place(target: str) -> str:
    """Return where a path of the repository outside docs/ is on the site."""
    if target.startswith("repository/"):
        return target
    path = _file(target)
    name = path.relative_to(ROOT).as_posix()
    return f"repository/{name}/index.md" if path.is_dir() else f"repository/{name}"


def _source(place: str) -> str:
    """Return which file of the repository a page of the site is made of."""
    if not place.startswith("repository/"):
        return f"docs/{place}"
    return place.removeprefix("repository/")


def _content(path: Path) -> str | bytes:
    if path.is_file():
        return path.read_text("utf-8") if path.suffix == ".md" else path.read_bytes()
    parts = [f"# {path.relative_to(ROOT).as_posix()}"]
    for one in sorted(path.rglob("*")):
        if one.is_file() and not one.name.startswith("."):
            kind = {"Kbuild": "make"}.get(one.name, one.suffix.removeprefix(".") or "text")
            parts.append(f"## {one.relative_to(path).as_posix()}\n\n````{kind}\n{one.read_text('utf-8')}````")
    return "\n\n".join(parts) + "\n"
