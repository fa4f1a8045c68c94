"""How a published table is cited: one sentence that names the study by its digest, and both epsilons."""

from collections.abc import Mapping
from typing import Any

from silosynth.common.evaluate.figures import epsilon
from silosynth.common.evaluate.words import no_privacy
from silosynth.common.study import Study


def citation(certificate: Mapping[str, Any], study: Study | None = None, published: str = "") -> str:
    """For a list of references. `certificate`: the claims of certificate.json; `published`: an ISO date."""
    name = study.name if study else str(certificate.get("name", "study"))
    if no_privacy(certificate):
        return f"Not to be cited or shared: a simulation of the study “{name}” without privacy."
    both = certificate.get("epsilon", {})
    dated = f" {published}," if published else ""
    unit = str(certificate.get("unit", "row")).partition(":")[0]
    engine = f", engine {study.engine}" if study else ""
    return (
        f"Synthetic data of the study “{name}” (SHA-256 {certificate.get('study', '')}),{dated} made with "
        f"{certificate.get('code', 'silosynth')}{engine}, (ε = {epsilon(both.get('aggregate'))}, δ = "
        f"{certificate.get('delta', '')})-differentially private per {unit} against those "
        f"who see only totals; ε = {epsilon(both.get('local'))} if all others collude."
    )
