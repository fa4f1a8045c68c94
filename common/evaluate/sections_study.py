"""The report's parts on where it comes from: the study, how to cite it, and the manifest with every hash."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from silosynth.common.evaluate.citing import citation
from silosynth.common.evaluate.figures import ABSENT
from silosynth.common.evaluate.metrics_file import Metrics
from silosynth.common.evaluate.page import element, facts, folded, lead, section, table, text
from silosynth.common.study import Study

_CODES_SHOWN: Final = 8
_FILES: Final = {
    "synthetic.parquet": "the table, with types",
    "synthetic.csv": "the table, as text",
    "generator.safetensors": "draws more rows, at no cost of privacy",
    "study.toml": "the whole agreement, word for word",
    "metrics.json": "the numbers of this page",
    "model_card.md": "what to know before use",
    "croissant.json": "for catalogues and loaders: Croissant 1.1",
    "sdv_metadata.json": "for SDV and SDMetrics",
}


def study_facts(certificate: Mapping[str, Any], study: Study | None, metrics: Metrics) -> str:
    """What was agreed, and what a person should know about the input."""
    lines = []
    if study:
        lines += [("Purpose", study.purpose)] if study.purpose else []
        lines += [
            ("Target", study.target or "none"),
            ("Hold-out", f"{100 * study.holdout:.0f} % of {'persons' if study.unit else 'rows'}"),
            ("Trust", str(study.trust)),
            ("Engine", study.engine),
            ("Sites", ", ".join(member.name for member in study.roster)),
        ]
    lines += [("Software", str(certificate.get("code", "silosynth")))]
    lines += [] if metrics.seed is None else [("Seed of splits, network and sampling", str(metrics.seed))]
    lines += [("Seconds", f"{metrics.seconds['total']:.0f}")] if "total" in metrics.seconds else []
    fitted = "{:.2f} (about 1: the model misses nothing but noise)"
    lines += [] if metrics.misfit is None else [("Chi-square per counted cell", fitted.format(metrics.misfit))]
    lines += [("Note on the input", note) for note in metrics.input_notes]
    return section("study", "The study", facts(lines), _schema(study) if study else "")


def _schema(study: Study) -> str:
    rows = [
        (
            text(one.name),
            text(one.kind),
            text(_domain(one.codes, one.low, one.high)),
            text(", ".join(one.unreviewed) or ABSENT),
        )
        for one in study.schema.columns
    ]
    head = ("Column", "Type", "Bounds or codes", "Taken from data, unreviewed")
    return folded(f"The public schema of {len(rows)} columns", table(head, rows, "The public schema"))


def _domain(codes: Sequence[str], low: float | None, high: float | None) -> str:
    if not codes:
        return f"{low:g} to {high:g}" if low is not None and high is not None else ABSENT
    return ", ".join(codes[:_CODES_SHOWN]) + (
        f" and {len(codes) - _CODES_SHOWN} more" if len(codes) > _CODES_SHOWN else ""
    )


def cite(certificate: Mapping[str, Any], study: Study | None, metrics: Metrics) -> str:
    """The sentence for a list of references."""
    return section("cite", "How to cite", element("blockquote", text(citation(certificate, study, metrics.published))))


def manifest(certificate: Mapping[str, Any]) -> str:
    """Digest of the study, hash of every file beside this one, head of every site's ledger; how to check them."""
    files = certificate.get("artefacts", {})
    rows = [
        (text(name), text(_FILES.get(name, "")), element("span", text(digest), class_="mono"))
        for name, digest in sorted(files.items())
        if name != "report.html"
    ]
    intro = lead(
        "What belongs together. certificate.json holds these hashes, that of this page too, and every site's signed "
        "receipt; silosynth verify computes all of it again."
    )
    lines = [("Study (SHA-256)", str(certificate.get("study", "")))]
    lines += [("Certificate", f"format {certificate['format']}")] if "format" in certificate else []
    lines += [("Accounting", f"version {certificate['accounting']}")] if "accounting" in certificate else []
    return section(
        "manifest",
        "Manifest",
        intro,
        facts(lines),
        table(("File", "What it is", "SHA-256"), rows, "Files") if rows else "",
        _receipts(certificate.get("receipts", {})),
    )


def _receipts(receipts: Mapping[str, Any]) -> str:
    rows = [
        (
            text(name),
            text(one["receipt"]["head"]["number"]),
            element("span", text(one["receipt"]["head"]["hash"]), class_="mono"),
            "signed" if one.get("signature") else "not signed",
        )
        for name, one in receipts.items()
    ]
    if not rows:
        return ""
    return table(("Site", "Entries", "Head of its ledger", "Receipt"), rows, "What each site said at the end")
