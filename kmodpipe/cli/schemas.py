"""Write the JSON Schemas of our files and all reference pages, from the models that read and write them.

python -m kmodpipe.cli.schemas           into docs/ of the checkout that is the current folder
python -m kmodpipe.cli.schemas FOLDER    into another folder, for an editor, say
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from operator import or_
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, create_model

from kmodpipe.analysis.ablate.records import Ablation
from kmodpipe.analysis.bisect.model import Answer as BisectAnswer
from kmodpipe.analysis.check.model import Report
from kmodpipe.cli import reference_pages
from kmodpipe.cluster.settings import ClusterToml
from kmodpipe.judge.case_toml import CaseToml
from kmodpipe.kconfig.matrix_toml import MatrixToml
from kmodpipe.logs.known_benign import BenignToml
from kmodpipe.pipeline.project_toml import ProjectToml
from kmodpipe.publish import receivers
from kmodpipe.report.claims_toml import ClaimsToml
from kmodpipe.results import journal
from kmodpipe.results.cover_answer import Answer as CoverAnswer
from kmodpipe.results.coverage import Coverage
from kmodpipe.results.document import Results
from kmodpipe.series.series_toml import SeriesToml
from kmodpipe.source.packaged import PackagedKernelSpec
from kmodpipe.source.tree import TreeSpec
from kmodpipe.util import json_schema, schema_page
from kmodpipe.util.files import write_atomically
from kmodpipe.util.screen import Screen
from kmodpipe.vm.limits import Deadlines

COMMAND = "python -m kmodpipe.cli.schemas"


@dataclass(frozen=True)
class Format:
    """A file that is described."""

    # The name of its schema and of its page.
    name: str
    title: str
    # A model, or a choice of some.
    model: Any
    toml: bool = True
    # It has a reference page.
    paged: bool = True

    def schema(self) -> json_schema.Json:
        """Return its JSON Schema."""
        return json_schema.of(self.model, self.title, toml=self.toml)

    def page(self) -> str:
        """Return its reference page."""
        others = [one for one in FORMATS if one is not self and one.paged]
        elsewhere = {one.model.__name__: f"{one.name}.md" for one in others}
        made = schema_page.page(self.schema(), toml=self.toml, elsewhere=elsewhere)
        return (
            f"{made}\n[JSON Schema](../schemas/{self.name}.schema.json). Made by `{COMMAND}`: do not edit.\n"
        )


def _project() -> type[ProjectToml]:
    """Return the model of the project's file with each table as the model that reads it."""
    kinds: Any = reduce(or_, (receivers.class_of(kind) for kind in receivers.kinds()))
    fields: Mapping[str, Any] = {
        "matrix": (str | MatrixToml, ProjectToml.model_fields["matrix"].default),
        "trees": (dict[str, TreeSpec], Field(default_factory=dict)),
        "kernels": (dict[str, PackagedKernelSpec], Field(default_factory=dict)),
        "deadlines": (Deadlines, Field(default_factory=Deadlines)),
        "cluster": (dict[str, ClusterToml], Field(default_factory=dict)),
        "receivers": (
            dict[str, Annotated[kinds, Field(discriminator="kind")]], Field(default_factory=dict)
        ),
    }  # fmt: skip
    return create_model("ProjectToml", __base__=ProjectToml, __doc__=ProjectToml.__doc__, **fields)


FORMATS = (
    Format("kmodpipe", "kmodpipe.toml, or [tool.kmodpipe] of a pyproject.toml", _project()),
    Format("matrix", "The matrix: matrix.toml, or [matrix] of a kmodpipe.toml", MatrixToml),
    Format("case", "case.toml", CaseToml),
    Format("series", "series.toml", SeriesToml),
    Format("claims", "claims.toml", ClaimsToml),
    Format("benign", "The file of harmless reports that `benign` of a kmodpipe.toml names", BenignToml),
    Format("results", "results.json", Results, toml=False),
    Format("ablation", "ablate.json", Ablation, toml=False),
    Format("cover", "cover.json", CoverAnswer, toml=False),
    Format("coverage", "coverage.json", Coverage, toml=False),
    Format("bisect", "bisect.json", BisectAnswer, toml=False),
    Format("check", "check.json", Report, toml=False),
    Format("cells", "A line of cells.jsonl", journal.Head | journal.Settled | journal.Learned,
           toml=False, paged=False),
)  # fmt: skip


def files() -> Mapping[str, str]:
    """Return the content of each file below docs/ that is made here, by its path there."""
    schemas = {
        f"schemas/{one.name}.schema.json": f"{json.dumps(one.schema(), indent=1)}\n" for one in FORMATS
    }
    formats = {f"reference/{one.name}.md": one.page() for one in FORMATS if one.paged}
    return {**schemas, **formats, **reference_pages.pages(COMMAND)}


def write(folder: Path) -> None:
    """Write all files into a folder."""
    for name, text in files().items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        write_atomically(folder / name, text)
        Screen().print(str(folder / name))


if __name__ == "__main__":
    write(Path(sys.argv[1] if sys.argv[1:] else "docs"))
