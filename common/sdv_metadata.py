"""sdv_metadata.json: the published table as SDV and SDMetrics describe one (SINGLE_TABLE_V1)."""

from typing import Any, Final

from silosynth.common.column import TRUTH, Column, Kind
from silosynth.common.schema import Schema

VERSION: Final = "SINGLE_TABLE_V1"

_DATES: Final = {Kind.DATE: "%Y-%m-%d", Kind.DATETIME: "%Y-%m-%dT%H:%M:%S"}


def sdv_metadata(schema: Schema) -> dict[str, Any]:
    """The content of sdv_metadata.json. There is no key: synthetic rows are nobody's."""
    return {"columns": {column.name: _described(column) for column in schema.columns}, "METADATA_SPEC_VERSION": VERSION}


def _described(column: Column) -> dict[str, str]:
    match column.kind:
        case Kind.BOOLEAN if column.codes == TRUTH:
            return {"sdtype": "boolean"}
        case Kind.BOOLEAN | Kind.CATEGORICAL:
            return {"sdtype": "categorical"}
        case Kind.DATE | Kind.DATETIME:
            return {"sdtype": "datetime", "datetime_format": _DATES[column.kind]}
        case Kind.INTEGER:
            return {"sdtype": "numerical", "computer_representation": "Int64"}
        case Kind.NUMBER | Kind.DURATION:
            return {"sdtype": "numerical", "computer_representation": "Float"}
