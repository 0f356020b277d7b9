"""Measures the release binary between a local Lambda and a local AWS on which every call takes LATENCY_MS.

    python benches/measure.py [--quick] [BINARY ...]

Writes target/bench/bench.json and a table. Runs of different cases alternate, so that a busy moment of the machine
meets all of them; what is told is the median. Given several binaries, it compares how they start, and a cold Create.
Started by `make bench`.
"""

import json
import os
import platform
import sys
import tempfile
import zipfile
from argparse import ArgumentParser
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from aws import Lab, end_on_signals
from cases import CASES, Case, by_arn, create, create_in
from report import comparison, table
from stage import AT_ONCE, Event, Sample, Speed, Stage

ROOT = Path(__file__).parent.parent
BOOTSTRAP = ROOT / "target/lambda/bootstrap/bootstrap"
RESULT = ROOT / "target/bench/bench.json"

LATENCY_MS = float(os.environ.get("LATENCY_MS", "30"))

# How long a connection takes to be made: nothing here is encrypted, so it is waited for in its place. Two round trips
# (TCP, TLS 1.3) and the handshake's arithmetic are well below a call that takes 30 ms within a region.
CONNECT_MS = float(os.environ.get("CONNECT_MS", LATENCY_MS))

SPEED = Speed(LATENCY_MS / 1000, CONNECT_MS / 1000)

Make = Callable[[], AbstractContextManager[Event]]


def main() -> None:
    options = ArgumentParser()
    options.add_argument("--quick", action="store_true")
    options.add_argument("binaries", nargs="*", type=Path, default=[BOOTSTRAP])
    given = options.parse_args()
    end_on_signals()
    binaries = [binary.resolve() for binary in given.binaries]
    if len(binaries) > 1:
        with ExitStack() as life:
            print(comparison({binary.name: one for binary, one in compare(life, binaries).items()}))
        return
    result = everything(binaries[0], quick=given.quick)
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    RESULT.write_text(json.dumps(result, indent=2) + "\n")
    print(table(result))
    print(f"\n{RESULT.relative_to(ROOT)}")


def everything(bootstrap: Path, *, quick: bool) -> dict[str, Any]:
    runs, points = (3, [1, 10]) if quick else (7, [1, 10, 50, 100])
    objects = {"none": 0, "some": 1_000} | ({} if quick else {"many": 100_000})
    with ExitStack() as life:
        stage = Stage(life, bootstrap)
        rows, memory = cases(stage, runs)
        return {
            "machine": machine(),
            "latency_ms": LATENCY_MS,
            "connect_ms": CONNECT_MS,
            "runs": runs,
            "binary": sizes(bootstrap),
            **starts(stage, [bootstrap], 5 * runs)[bootstrap],
            "wire_ms": wire(stage, runs),
            "rows": rows,
            "growth": {
                "connections": crowds(life, bootstrap, points, max(3, runs // 2)),
                "objects": heaps(life, bootstrap, objects, runs),
            },
            "peak_memory": max(memory, stage.function.peak_memory()),
            "policy_us": criterion(),
        }


def cases(stage: Stage, runs: int) -> tuple[list[dict[str, Any]], int]:
    """Every case as it is on the wire, and with the wire at no delay; and the most memory a cold Create took."""
    memory = 0

    def measured(case: Case, speed: Speed, event: Event) -> Sample:
        nonlocal memory
        if not case.cold:
            return stage.run(event, speed)
        with stage.start() as function:
            sample = stage.run(event, speed, function)
            memory = max(memory, function.peak_memory())
            return sample

    kinds = {
        (case.name, speed): (partial(case.event, stage), partial(measured, case, speed))
        for case in CASES
        for speed in (SPEED, AT_ONCE)
    }
    samples = alternately(kinds, runs)
    return [row(case, samples[case.name, SPEED], samples[case.name, AT_ONCE]) for case in CASES], memory


def row(case: Case, samples: list[Sample], local: list[Sample]) -> dict[str, Any]:
    wall = summary([sample.seconds for sample in samples])
    rounds = wall["median"] / LATENCY_MS
    traffic = samples[-1].traffic
    return {
        "name": case.name,
        "wall_ms": wall,
        "local_ms": summary([sample.seconds for sample in local]),
        "processor_ms": summary([sample.processor_time for sample in samples]),
        "rounds": round(rounds, 2),
        # Of all runs the shortest: a busy machine makes it longer, nothing makes it shorter.
        "chain": min(sample.traffic.chain for sample in samples),
        "floor": case.floor,
        "floor_is": case.rounds,
        "target": case.target,
        "ok": None if case.target is None else rounds <= case.target,
        "calls": dict(sorted(traffic.calls.items())),
        "connections": max(sample.traffic.connections for sample in samples),
        "late": sum(sample.traffic.late for sample in samples),
    }


def alternately(kinds: dict[Any, tuple[Make, Callable[[Event], Sample]]], runs: int) -> dict[Any, list[Sample]]:
    """A B C A B C; the first of each is not counted, as it warms what is warm from then on."""
    samples: dict[Any, list[Sample]] = {kind: [] for kind in kinds}
    for number in range(runs + 1):
        for kind, (make, measured) in kinds.items():
            with make() as event:
                sample = measured(event)
            if number:
                samples[kind].append(sample)
    return samples


def starts(stage: Stage, binaries: list[Path], runs: int) -> dict[Path, dict[str, Any]]:
    """From starting the process to its first request for work, and what that took of a processor."""
    samples: dict[Path, list[tuple[float, float]]] = {binary: [] for binary in binaries}
    for _ in range(runs):
        for binary in binaries:
            with stage.start(binary) as function:
                samples[binary].append((function.init, function.init_processor_time))
    return {
        binary: {
            "init_ms": summary([seconds for seconds, _ in some]),
            "init_processor_ms": summary([seconds for _, seconds in some]),
        }
        for binary, some in samples.items()
    }


def wire(stage: Stage, runs: int) -> dict[str, Any]:
    """A Create at no delay through the wire, and straight to the local AWS: what the wire itself costs."""
    with stage.start() as through, stage.start(direct=True) as direct:
        make = partial(create, stage, by_arn)
        run = partial(stage.run, speed=AT_ONCE)
        ways = {"through": through, "direct": direct}
        samples = alternately({name: (make, partial(run, function=one)) for name, one in ways.items()}, runs)
    return {name: summary([sample.seconds for sample in some]) for name, some in samples.items()}


def crowds(life: ExitStack, bootstrap: Path, sizes: list[int], runs: int) -> list[dict[str, Any]]:
    """A Create that makes the so-manieth connection of one key and bucket, and the Delete that removes it."""
    stages = {size: Stage(life, bootstrap) for size in sizes}
    labs = {size: stage.lab() for size, stage in stages.items()}
    for size, stage in stages.items():
        for number in range(1, size):
            stage.run(stage.create(labs[size], f"old-{number}/", KmsKeyId=labs[size].key_arn))
    samples: dict[tuple[str, int], list[Sample]] = {(verb, size): [] for verb in ("create", "delete") for size in sizes}
    for number in range(runs):
        for size, stage in stages.items():
            created = stage.create(labs[size], f"new-{number}/", KmsKeyId=labs[size].key_arn)
            samples["create", size].append(stage.run(created, SPEED))
            samples["delete", size].append(stage.run(stage.follow(created, "Delete"), SPEED))
    return [
        {"connections": size} | {verb: told(samples[verb, size]) for verb in ("create", "delete")} for size in sizes
    ]


def heaps(life: ExitStack, bootstrap: Path, objects: dict[str, int], runs: int) -> list[dict[str, Any]]:
    """A Create whose prefix holds so many objects already."""
    stage = Stage(life, bootstrap, objects)
    key = stage.lab()
    kinds = {}
    for bucket, number in objects.items():
        customer = Lab(bucket, key.key_id, key.key_arn)
        kinds[number] = (partial(create_in, stage, customer), partial(stage.run, speed=SPEED))
    samples = alternately(kinds, runs)
    return [{"objects": number, "create": told(some)} for number, some in samples.items()]


def told(samples: list[Sample]) -> dict[str, Any]:
    return {
        "wall_ms": summary([sample.seconds for sample in samples]),
        "chain": min(sample.traffic.chain for sample in samples),
        "calls": samples[-1].traffic.calls.total(),
    }


def compare(life: ExitStack, binaries: list[Path], runs: int = 21) -> dict[Path, dict[str, Any]]:
    """How binaries start, and a cold Create at no delay: what their own work takes."""
    stage = Stage(life, binaries[0])
    memory = dict.fromkeys(binaries, 0)

    def cold(binary: Path, event: Event) -> Sample:
        with stage.start(binary) as function:
            sample = stage.run(event, AT_ONCE, function)
            memory[binary] = max(memory[binary], function.peak_memory())
            return sample

    inits = starts(stage, binaries, 3 * runs)
    kinds = {binary: (partial(create, stage, by_arn), partial(cold, binary)) for binary in binaries}
    samples = alternately(kinds, runs)
    return {
        binary: {
            "binary": sizes(binary),
            **inits[binary],
            "cold_create_ms": summary([sample.seconds for sample in samples[binary]]),
            "cold_create_processor_ms": summary([sample.processor_time for sample in samples[binary]]),
            "peak_memory": memory[binary],
        }
        for binary in binaries
    }


def summary(seconds: list[float]) -> dict[str, float]:
    """In milliseconds."""
    return {
        "median": round(median(seconds) * 1000, 2),
        "min": round(min(seconds) * 1000, 2),
        "max": round(max(seconds) * 1000, 2),
    }


def sizes(bootstrap: Path) -> dict[str, int]:
    """The binary, and the package as `sam deploy` uploads it, in bytes."""
    with tempfile.TemporaryFile() as package:
        with zipfile.ZipFile(package, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.write(bootstrap, "bootstrap")
        return {"bytes": bootstrap.stat().st_size, "zip_bytes": package.tell()}


def criterion() -> dict[str, float]:
    """What `cargo bench` measured last, in microseconds, by the name of the benchmark."""
    found = sorted(ROOT.glob("target/criterion/policy/*/new/estimates.json"))
    return {
        path.parts[-3]: round(json.loads(path.read_text())["median"]["point_estimate"] / 1000, 1) for path in found
    }


def machine() -> dict[str, Any]:
    models = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return {
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "processor": models[0].partition(": ")[2] if models else "",
        "cores": os.cpu_count(),
        # Of the minute before: other work on the machine is in every time.
        "load_at_end": round(os.getloadavg()[0], 2),
    }


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("\nStopped; nothing is left running.")
