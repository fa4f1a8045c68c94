"""`silosynth site report`: a released table against this site's own rows, exactly, for the institution's eyes only.

Exit codes: 0 the report was written; 1 what was released does not hold; 2 wrong input.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from silosynth.simulations.cli_options import Quiet
from silosynth.simulations.cli_site_options import HERE, AsJson, Home, StudyOf

if TYPE_CHECKING:
    from silosynth.common.evaluate.metrics_file import Metrics
    from silosynth.common.study import Study

Released = Annotated[Path, typer.Argument(help="The released folder or archive; or its table alone, .parquet or .csv.")]
Output = Annotated[
    Path | None, typer.Option("-o", "--output", help="Folder to write to (default: reports/DIGEST in the home).")
]
Seed = Annotated[int, typer.Option(min=0, help="Of samples, shuffles and models.")]

_TABLE: Final = "synthetic.parquet"
_ALONE: Final = "the table was given without its certificate: what is said of privacy is what the study plans"


def report(
    study: StudyOf,
    released: Released,
    home: Home = HERE,
    output: Output = None,
    seed: Seed = 0,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Compare what was released with this site's own rows. Exact, not private: it stays here, and nothing is sent."""
    from silosynth.simulations.console import progress

    with progress(quiet=quiet) as shown:
        shown("start", 0, 0)
        from silosynth.client import comparison
        from silosynth.client.home import SiteHome
        from silosynth.common.evaluate.scores import summary
        from silosynth.server.bundle import unpacked
        from silosynth.simulations.cli_site_study import study_at

        where = SiteHome(home)
        asked = study_at(where, study)
        target = output or where.report(asked.digest)
        _check_apart(released, target)
        with unpacked(released) as folder:
            certificate = _certificate(folder, asked)
            table = folder / _TABLE if folder.is_dir() else folder
            metrics = comparison.compare(where, comparison.Released(asked, table), seed, shown)
        if table == released:
            metrics = replace(metrics, input_notes=(*metrics.input_notes, _ALONE))
        page = _write(target, metrics, certificate, asked)
    if as_json:
        print(json.dumps({"report": str(page), "scores": metrics.scores.to_json()["scores"]}))
        return
    print("\n".join(summary(metrics.scores)))
    print(
        f"\n{page}: for this institution's eyes only. The figures are exact, no epsilon covers them; nothing was sent"
    )


def _check_apart(released: Path, target: Path) -> None:
    """Raise InvalidInput where the report would lie with what is published."""
    from silosynth.common.errors import InvalidInput
    from silosynth.common.verify import CERTIFICATE
    from silosynth.server.bundle import is_archive

    folder = (released if released.is_dir() else released.parent).resolve()
    whole = target.resolve()
    published = any((place / CERTIFICATE).exists() for place in (whole, *whole.parents))
    beside = whole.is_relative_to(folder) if released.is_dir() else is_archive(released) and whole == folder
    if published or beside:
        raise InvalidInput(
            f"{target}: lies with what was published, and this report is exact and must not be; choose another folder "
            "with --output, or leave it out to have it in the site's home"
        )


def _certificate(released: Path, study: "Study") -> dict[str, Any]:
    """The certificate of a folder, if it holds; of a table alone, what the study plans.

    Raises NotCertified for a folder that does not hold, or that is of another study.
    """
    from silosynth.common.certificate import Noise, claims
    from silosynth.common.verify_receipts import everybody
    from silosynth.server.bundle import CERTIFICATE, verified

    if released.is_dir():
        verified(released, study.digest)
        content: dict[str, Any] = json.loads((released / CERTIFICATE).read_bytes())
        return content
    return claims(study, study.releases, Noise.SYSTEM, everybody(study) if study.masked else ())


def _write(folder: Path, metrics: "Metrics", certificate: dict[str, Any], study: "Study") -> Path:
    """report.html and metrics.json, readable to their owner alone."""
    from silosynth.client.home import write_whole
    from silosynth.common.errors import InvalidInput
    from silosynth.common.evaluate import metrics_file
    from silosynth.common.evaluate.report import FOR_ONE_SITE, render
    from silosynth.common.readable_json import laid_out

    content = {"stamp": FOR_ONE_SITE} | metrics_file.to_json(metrics)
    page = render(metrics_file.read(content), certificate, study)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_whole(folder / "metrics.json", laid_out(content).encode())
        write_whole(folder / "report.html", page.encode())
    except OSError as error:
        raise InvalidInput(f"{folder}: cannot be written to ({error.strerror}); choose another with --output") from None
    return folder / "report.html"
