"""A Flower app as its documentation would have it, for rounds.py to time: all nodes answer with as many new numbers.

It does nothing else, and imports neither torch nor anything of ours, so each of its processes starts as fast as it can.
"""

import json
import time
from pathlib import Path

import numpy as np
from flwr.app import ArrayRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp

client = ClientApp()
server = ServerApp()


@client.query()
def answer(message: Message, context: Context) -> Message:
    """As many numbers as came. New ones: Flower stores equal answers of several nodes once."""
    del context
    size = message.content.array_records["weights"].to_numpy_ndarrays()[0].size
    numbers = np.random.default_rng().normal(size=size).astype(np.float32)
    return Message(RecordDict({"gradient": ArrayRecord([numbers])}), reply_to=message)


@server.main()
def main(grid: Grid, context: Context) -> None:
    """Ask all nodes as often as the run's settings say; write the seconds of each round to the file that they name."""
    said = context.run_config
    sites, rounds, size = int(said["sites"]), int(said["rounds"]), int(said["size"])
    while len(nodes := list(grid.get_node_ids())) < sites:
        time.sleep(0.1)
    weights, took = np.random.default_rng(0).normal(size=size).astype(np.float32), []
    for _ in range(rounds):
        began = time.perf_counter()
        content = RecordDict({"weights": ArrayRecord([weights])})
        replies = list(grid.send_and_receive([Message(content, node, "query") for node in nodes]))
        answers = [reply.content.array_records["gradient"].to_numpy_ndarrays()[0] for reply in replies]
        weights = np.mean(answers, axis=0, dtype=np.float32)
        took.append(time.perf_counter() - began)
        if len(answers) < sites:
            raise RuntimeError("a node gave no answer")
    Path(str(said["out"])).write_text(json.dumps(took), encoding="ascii")
