"""`python -m silosynth.simulations.bench [NAME ...]`: what to measure, how often, and where to write it.

Speed: train (whole training of an Adult-sized study), clipping (beside Opacus), noise (beside OpenDP), sampling, secagg
(secure sums beside Flower's SecAgg+), masks (the demo with them and without), rounds (between processes of
institutions, beside an app on Flower as it comes), report (scores, attacks, page and certificate of a large table),
study (end to end). Quality, where the tables are: adult, pooled
(five sites beside one), local (sites that learn by themselves beside secure sums), gan (the GAN in both ways of trust),
randhie, ist. Without names, everything, one after the other: about two hours.

`quality FOLDER` is the benchmark of record, with options of its own: every table, engine but the GAN, epsilon and seed,
and central competitors; hours, in as many processes as asked for (`quality --help`). `sources` says where an engine's
error comes from: the noise of one kind of sum left out at a time. `constants FOLDER` chooses an engine's constants by
all tables but one, for each of them.
"""

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch

from silosynth.common.errors import InvalidInput
from silosynth.common.progress import Progress
from silosynth.simulations.bench import (
    clipping,
    constants,
    gan,
    local,
    masks,
    pooled,
    quality,
    record,
    report,
    rounds,
    secagg,
    sources,
    speed,
)
from silosynth.simulations.bench.results import Results, Row, against, machine
from silosynth.simulations.console import progress as shown_progress


@dataclass(frozen=True)
class Effort:
    """How often everything is repeated."""

    seeds: tuple[int, ...]
    turns: int


Bench = Callable[[Effort, Progress], Iterator[Row]]

BENCHES: Final[Mapping[str, Bench]] = {
    "clipping": lambda effort, progress: clipping.clipping(effort.seeds, effort.turns, progress),
    "noise": lambda effort, progress: speed.noise(effort.seeds, effort.turns, progress),
    "sampling": lambda effort, progress: speed.sampling(effort.seeds, effort.turns, progress),
    "secagg": lambda effort, progress: secagg.secagg(effort.seeds, effort.turns, progress),
    "rounds": lambda _, progress: rounds.rounds(progress),
    "report": lambda _, progress: report.report(progress),
    "masks": lambda effort, progress: masks.masks(effort.seeds, progress),
    "train": lambda effort, progress: speed.train(effort.seeds, progress),
    "study": lambda effort, progress: speed.study(effort.seeds, progress),
    "adult": lambda effort, progress: quality.adult(effort.seeds, progress),
    "pooled": lambda effort, progress: pooled.pooled(effort.seeds, progress),
    "local": lambda effort, progress: local.local(effort.seeds, progress),
    "gan": lambda effort, progress: gan.gan(effort.seeds, progress),
    "randhie": lambda effort, progress: quality.randhie(effort.seeds, progress),
    "ist": lambda effort, progress: quality.ist(effort.seeds, progress),
}

PROGRAMS: Final[Mapping[str, Callable[[Sequence[str]], int]]] = {
    "quality": record.main,
    "sources": sources.main,
    "constants": constants.main,
}
"""Those with options of their own."""


def main(arguments: Sequence[str]) -> int:
    """Measure, print, write, compare. Exit code 2 for wrong input, 1 where a bar was missed."""
    if arguments and arguments[0] in PROGRAMS:
        return PROGRAMS[arguments[0]](arguments[1:])
    asked = _parser().parse_args(arguments)
    torch.set_num_threads(1)
    try:
        before = Results.read(asked.against) if asked.against else None
    except InvalidInput as error:
        print(error, file=sys.stderr)
        return 2
    facts = machine()
    print(", ".join(f"{name} {value}" for name, value in facts.items()))
    effort, rows = Effort(tuple(range(asked.seeds)), asked.turns), list[Row]()
    with shown_progress(quiet=asked.quiet) as progress:
        for name in asked.names or BENCHES:
            print(f"\n{name}", flush=True)
            for row in BENCHES[name](effort, progress):
                rows.append(row)
                print(f"  {row.line()}", flush=True)
            Results(facts, tuple(rows)).write(asked.out)  # after each: an hour is not lost to Ctrl-C
    print(f"\nwritten to {asked.out}")
    if before:
        print("\n".join(against(Results(facts, tuple(rows)), before)))
    return int(any(row.passed is False for row in rows))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m silosynth.simulations.bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", type=_bench, help=f"any of {', '.join(BENCHES)}")
    parser.add_argument("--seeds", type=_count, default=3, help="repetitions of studies, seeds 0, 1, ... (3)")
    parser.add_argument("--turns", type=_count, default=9, help="interleaved turns of contestants (9)")
    parser.add_argument("--out", type=_file, default=Path("bench.json"), help="the file of results (bench.json)")
    parser.add_argument("--against", type=Path, help="compare with an earlier file of results")
    parser.add_argument("--quiet", action="store_true", help="no progress on standard error")
    return parser


def _bench(text: str) -> str:
    if text not in BENCHES:
        raise argparse.ArgumentTypeError(f"{text!r} is not measured; known are {', '.join(BENCHES)}")
    return text


def _file(text: str) -> Path:
    path = Path(text)
    if not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"there is no folder {path.parent}; make it, or name another one")
    return path


def _count(text: str) -> int:
    count = int(text)
    if count < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return count


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
