"""Makes up rows for the three sites of the demo: rows.py FOLDER writes FOLDER/SITE/patients.csv. They are nobody's."""

import csv
import math
import random  # noqa: TID251 - rows that are made up, the same in every demo
import sys
from pathlib import Path

SITES = {"north": (2000, 61.0), "east": (1500, 68.0), "west": (1200, 55.0)}  # persons, their mean age


def main(folder: Path) -> None:
    """Write a CSV file for each site."""
    draw = random.Random(2026)
    for number, (site, (persons, mean_age)) in enumerate(SITES.items()):
        place = folder / site
        place.mkdir(parents=True, exist_ok=True)
        with (place / "patients.csv").open("w", newline="", encoding="utf-8") as file:
            rows = csv.writer(file)
            rows.writerow(["patient_id", "age", "sex", "smoker", "systolic", "readmitted"])
            rows.writerows(person(draw, f"{number}{place:05}", mean_age) for place in range(persons))


def person(draw: random.Random, name: str, mean_age: float) -> list[object]:
    """One row: older people and smokers have higher pressure, and come back more often."""
    age = min(max(round(draw.gauss(mean_age, 13)), 18), 100)
    sex, smoker = draw.choice("FM"), draw.random() < 0.35 - age / 400
    systolic = min(max(round(draw.gauss(95 + 0.6 * age + 9 * smoker, 14)), 70), 240)
    odds = math.exp(-9 + 0.05 * age + 0.03 * systolic + 0.6 * smoker)
    return [name, age, sex, "yes" if smoker else "no", systolic, "yes" if draw.random() < odds / (1 + odds) else "no"]


if __name__ == "__main__":
    main(Path(sys.argv[1]))
