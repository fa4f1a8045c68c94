"""croissant.json: the published table in Croissant 1.1 (MLCommons), so that catalogues and loaders can read it.

With the responsible-AI extension: the table says of itself that it is synthetic, what it cannot support, and that no
row is a person's. What nobody told the study (a licence, an address on the web) is said to be unknown.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

from silosynth.common.column import Column, Kind
from silosynth.common.evaluate.citing import citation
from silosynth.common.evaluate.metrics_file import Metrics
from silosynth.common.evaluate.words import limits, no_privacy
from silosynth.common.present import whole_codes
from silosynth.common.study import Study

CONFORMS_TO: Final = ("http://mlcommons.org/croissant/1.1", "http://mlcommons.org/croissant/RAI/1.0")

_CONTEXT: Final[Mapping[str, Any]] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "dct": "http://purl.org/dc/terms/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "sc": "https://schema.org/",
    "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "description": {"@container": "@language"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "name": {"@container": "@language"},
    **{
        term: f"cr:{term}"
        for term in (
            *("arrayShape", "citeAs", "column", "containedIn", "equivalentProperty", "extract", "field", "fileObject"),
            *("fileProperty", "fileSet", "format", "includes", "isArray", "isLiveDataset", "jsonPath", "key", "md5"),
            *("parentField", "path", "recordSet", "references", "regex", "repeated", "replace", "samplingRate"),
            *("separator", "source", "subField", "transform"),
        )
    },
}

_ENCODINGS: Final = {"synthetic.csv": "text/csv", "synthetic.parquet": "application/x-parquet"}
_NO_LICENCE: Final = "None is stated in the study: ask the institutions that took part."
_CODES_SHOWN: Final = 50


@dataclass(frozen=True)
class File:
    """A published file: SHA-256 in hex, size in bytes."""

    sha256: str
    size: int


def croissant(study: Study, claims: Mapping[str, Any], metrics: Metrics, files: Mapping[str, File]) -> dict[str, Any]:
    """The content of croissant.json. `claims`: of certificate.json; `files`: the table's, by name."""
    broken = no_privacy(claims)
    dated = {"datePublished": metrics.published} if metrics.published else {}
    return {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": list(CONFORMS_TO),
        "name": study.name,
        "description": _description(study, broken),
        "url": f"urn:sha256:{study.digest}",
        "version": "1.0.0",
        "license": {"@type": "sc:CreativeWork", "name": _NO_LICENCE},
        "creator": [{"@type": "sc:Organization", "name": member.name} for member in study.roster],
        **dated,
        "keywords": ["synthetic data", "tabular", "differential privacy", "federated learning"],
        "citeAs": citation(claims, study, metrics.published),
        "isLiveDataset": False,
        "rai:hasSyntheticData": True,
        "rai:syntheticDataExplanation": (
            f"Every row was drawn from a generator ({study.engine}) that was learnt from sums with noise over the rows "
            f"of {len(study.roster)} sites. No row is a person's."
        ),
        "rai:dataCollection": f"By silosynth; what was asked of the sites stands in study.toml ({study.digest}).",
        "rai:dataLimitations": limits(metrics.scores),
        "rai:dataUseCases": study.purpose or "None is stated in the study.",
        "rai:personalSensitiveInformation": broken
        or f"Differentially private per {claims.get('unit', 'row')}; certificate.json says against whom.",
        "distribution": [_file(name, one) for name, one in sorted(files.items())],
        "recordSet": [
            {
                "@type": "cr:RecordSet",
                "@id": "rows",
                "name": "rows",
                "description": f"{metrics.scores.rows.get('synthetic', 0)} synthetic rows",
                "field": [_field(column) for column in study.schema.columns],
            }
        ],
    }


def _description(study: Study, broken: str | None) -> str:
    said = f"A synthetic table of {len(study.schema.columns)} columns, learnt from {len(study.roster)} sites that kept "
    said += "their rows." + (f" Purpose: {study.purpose}" if study.purpose else "")
    return f"NO PRIVACY: {broken} {said}" if broken else said


def _file(name: str, file: File) -> dict[str, Any]:
    return {
        "@type": "cr:FileObject",
        "@id": name,
        "name": name,
        "contentUrl": name,
        "contentSize": f"{file.size} B",
        "encodingFormat": _ENCODINGS[name],
        "sha256": file.sha256,
    }


def _field(column: Column) -> dict[str, Any]:
    return {
        "@type": "cr:Field",
        "@id": f"rows/{quote(column.name, safe='')}",
        "name": column.name,
        "description": _domain(column),
        "dataType": _data_type(column),
        "source": {"fileObject": {"@id": "synthetic.csv"}, "extract": {"column": column.name}},
    }


def _data_type(column: Column) -> str:
    match column.kind:
        case Kind.INTEGER:
            return "sc:Integer"
        case Kind.NUMBER | Kind.DURATION:
            return "sc:Float"
        case Kind.DATE:
            return "sc:Date"
        case Kind.DATETIME:
            return "sc:DateTime"
        case Kind.BOOLEAN | Kind.CATEGORICAL:
            return "sc:Integer" if whole_codes(column) else "sc:Text"


def _domain(column: Column) -> str:
    unit = f" {column.unit}" if column.unit else ""
    if not column.coded:
        low, high = column.bounds
        return f"{column.kind}, from {low:g} to {high:g}{unit}; empty where it is missing"
    codes = ", ".join(column.codes[:_CODES_SHOWN])
    more = f" and {len(column.codes) - _CODES_SHOWN} more" if len(column.codes) > _CODES_SHOWN else ""
    return f"{column.kind}, one of {codes}{more}; empty where it is missing"
