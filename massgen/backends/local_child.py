"""The embedded model's own process: MODEL SLOTS CONTEXT THREADS, an access key on stdin, one line of JSON on stdout.

A process of its own, because the runtime aborts on CPUs it does not know, holds the interpreter while it generates, and
crashes a Python that exits meanwhile. It serves HTTP on a free loopback port until stdin ends: when its parent closes
it or dies, however it dies.
"""

import importlib
import json
import os
import sys
from typing import Any


def main(model: str, slots: int, context: int, threads: int) -> None:
    key = sys.stdin.readline().strip()  # neither the environment nor the command line: others can read those
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # spinning made a busy machine 10 to 20 times slower
    print(json.dumps(_serve(key, model, slots, context, threads)), flush=True)
    sys.stdin.buffer.read()
    os._exit(0)  # at once, whatever the runtime's threads are at


def _serve(key: str, model: str, slots: int, context: int, threads: int) -> dict[str, str]:
    try:
        xllamacpp: Any = importlib.import_module("xllamacpp")  # untyped; reads OMP_WAIT_POLICY as it loads
    except ImportError as error:
        return {"missing": str(error)}
    params = xllamacpp.CommonParams()
    params.model.path = model
    params.model_alias = {"local"}
    params.n_parallel, params.n_ctx = slots, slots * context
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
    params.hostnames, params.port, params.api_keys = ["127.0.0.1"], 0, [key]
    params.ui = params.endpoint_slots = False  # slots would show prompts
    params.cors_origins = "null"
    params.cache_ram_mib = 0  # its default lets a cache of prompts grow to 8 GB
    params.verbosity = -1
    try:
        server = xllamacpp.Server(params)
    except RuntimeError as error:
        return {"failed": str(error)}
    _keep.append(server)
    return {"base_url": f"{server.listening_address}/v1"}


_keep: list[Any] = []
"""The server stops when it is collected."""

if __name__ == "__main__":
    main(sys.argv[1], *(int(number) for number in sys.argv[2:5]))
