"""croissant.json: the dataset in the words that search engines and hubs read.

Croissant 1.1 (MLCommons) with its vocabulary for responsible AI: each file with its SHA-256,
tables and columns with their meanings, licence of each source, how it was made, and what it
should not be used for. There is no date in it, so that the same dataset has the same document.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa

from sllm_data.filtering.config import FilterConfig
from sllm_data.shards import TABLES, PartRecord, Table
from sllm_data.steps.sources import OTHER, SourceFacts

Json = dict[str, Any]  # Any: JSON values

_PARQUET = "application/x-parquet"
_LICENCES = "https://spdx.org/licenses/"
_SPDX = {
    "apache-2.0": "Apache-2.0",
    "bsd-2-clause": "BSD-2-Clause",
    "bsd-3-clause": "BSD-3-Clause",
    "odbl": "ODbL-1.0",
    "odc-by": "ODC-By-1.0",
    "pddl": "PDDL-1.0",
    "unlicense": "Unlicense",
}
"""Names of SPDX, where they are more than the hub's in capitals."""
_SPEAKERS = (
    "Voices and what corpora know of speakers: age, gender, accent. Speaker ids are salted hashes "
    "where a corpus forbids to identify people."
)
LIMITS = (
    "Answers were written by a language model that read the transcript, not by people, and are "
    "kept by rules, not read. What is said by voice alone (emotion, emphasis, other sounds) is "
    "not in them."
)
"""What rows should not be taken for."""
_USES = (
    "Training and testing of speech language models: to answer instructions about speech as a "
    "text model answers them about its transcript. Rows of validation and test, and those of "
    "held-out wordings and tasks, are for measuring only."
)
_BIASES = (
    "Those of the corpora (who was recorded, what was read) and of the language model that "
    "answered."
)
_DROPPED = {
    "empty": "empty",
    "refusal": "refusals",
    "repetition": "loops",
    "copied": "copies of the transcript",
    "wrong_language": "in another language",
    "broken_json": "no JSON where it was asked for",
    "leaked_template": "with control tokens in them",
}
"""What each filter drops, as a list of such answers says it."""
_CONTEXT: Json = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileObject": "cr:fileObject",
    "fileProperty": "cr:fileProperty",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}


def croissant(  # noqa: PLR0913 - all that is said of a dataset
    *,
    name: str,
    description: str,
    version: str,
    licence: str,
    sources: Sequence[SourceFacts],
    languages: Sequence[str],
    parts: Sequence[PartRecord],
    how_made: str,
    filters: FilterConfig,
) -> Json:
    """Returns the document.

    Args:
        name: Of the dataset.
        description: A sentence or two.
        version: Of the tables.
        licence: The most restrictive of all sources, by the hub's name or `other`.
        sources: Of the rows.
        languages: Spoken, as BCP 47.
        parts: All files that are listed, with their digests; tables are told by their folders.
        how_made: For the field about preprocessing.
        filters: Which answers were dropped.
    """
    tables = _tables(parts)
    return {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": [
            "http://mlcommons.org/croissant/1.1",
            "http://mlcommons.org/croissant/RAI/1.0",
        ],
        "name": name,
        "description": description,
        "version": f"{version}.0.0",
        "license": _licence_of(licence),
        "citeAs": "; ".join(dict.fromkeys(filter(None, (s.attribution for s in sources)))) or name,
        "url": ".",
        "inLanguage": list(languages),
        "keywords": ["speech", "instruction tuning", "speech language model"],
        "isBasedOn": [_source(each) for each in sources],
        "distribution": [*map(_file, parts), *(_file_set(table) for table in tables)],
        "recordSet": [_record_set(TABLES[table]) for table in tables],
        "rai:dataCollection": "Speech and transcripts of the corpora under isBasedOn; nothing "
        "was recorded for this dataset.",
        "rai:dataPreprocessingProtocol": how_made,
        "rai:dataAnnotationProtocol": _annotated(filters),
        "rai:dataLimitations": LIMITS,
        "rai:dataBiases": _BIASES,
        "rai:personalSensitiveInformation": _SPEAKERS,
        "rai:dataUseCases": _USES,
    }


def _tables(parts: Sequence[PartRecord]) -> list[str]:
    return list(dict.fromkeys(part.file.partition("/")[0] for part in parts))


def _annotated(filters: FilterConfig) -> str:
    dropped = [words for name, words in _DROPPED.items() if getattr(filters, name)]
    if filters.truncated == "drop":
        dropped.append("cut off")
    parts = ["A language model answered instructions about transcripts"]
    if dropped:
        parts.append(f"answers dropped by rule: {', '.join(dropped)}")
    if filters.truncated != "drop":
        is_marked = filters.truncated == "mark"
        parts.append(f"answers that were cut off are {'marked' if is_marked else 'kept'}")
    if filters.judge:
        parts.append(f"it judged them, those below {filters.judge_keep} of 5 were dropped")
    return f"{'; '.join(parts)}. What was dropped stands with its reason in rejections/."


def _licence_of(licence: str) -> str:
    if licence == OTHER:
        return licence
    return f"{_LICENCES}{_SPDX.get(licence, licence.upper())}.html"


def _source(source: SourceFacts) -> Json:
    return {
        "@type": "sc:Dataset",
        "name": f"{source.corpus} {source.version}".strip(),
        "license": source.licence or "not stated",
        "creditText": source.attribution or "not stated",
        "size": f"{source.rows} rows, {source.hours:.2f} hours",
    }


def _file(part: PartRecord) -> Json:
    return {
        "@type": "cr:FileObject",
        "@id": part.file,
        "name": part.file,
        "contentUrl": part.file,
        "contentSize": f"{part.bytes} B",
        "encodingFormat": _PARQUET,
        "sha256": part.sha256,
    }


def _file_set(table: str) -> Json:
    return {
        "@type": "cr:FileSet",
        "@id": f"{table}-parts",
        "name": f"{table}-parts",
        "description": TABLES[table].meaning,
        "encodingFormat": _PARQUET,
        "includes": f"{table}/*.parquet",
    }


def _record_set(table: Table) -> Json:
    return {
        "@type": "cr:RecordSet",
        "@id": table.name,
        "name": table.name,
        "description": table.meaning,
        "key": {"@id": f"{table.name}/{table.key}"},
        "field": list(_fields(table)),
    }


def _fields(table: Table) -> Iterator[Json]:
    for column in table.columns:
        kind = _data_type(column.type)
        if kind is not None:
            yield {
                "@type": "cr:Field",
                "@id": f"{table.name}/{column.name}",
                "name": f"{table.name}/{column.name}",
                "description": column.meaning,
                "dataType": kind,
                "source": {
                    "fileSet": {"@id": f"{table.name}-parts"},
                    "extract": {"column": column.name},
                },
            }


def _data_type(kind: pa.DataType) -> str | None:
    """The type of a plain column; nested ones are explained in schema.json alone."""
    if pa.types.is_string(kind):
        return "sc:Text"
    if pa.types.is_boolean(kind):
        return "sc:Boolean"
    if pa.types.is_integer(kind):
        return "sc:Integer"
    if pa.types.is_floating(kind):
        return "sc:Float"
    return None
