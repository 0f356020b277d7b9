"""What was measured, for people."""

from typing import Any

MEGABYTE = 1_000_000

# What is promised: the most that each may be.
INIT_MS = 15
MEMORY_MB = 30
ZIP_MB = 5
HUNDRED_TO_ONE = 1.3
MERGE_US = 1_000

# Of the longest bar, in characters.
WIDTH = 40


def table(result: dict[str, Any]) -> str:
    latency = result["latency_ms"]
    machine = result["machine"]
    lines = [
        "",
        f"{machine['processor']}, {machine['cores']} cores, load {machine['load_at_end']}; {machine['system']}",
        f"{latency:g} ms a call, {result['connect_ms']:g} ms a new connection; medians of {result['runs']} runs",
        "",
        *rows(result["rows"]),
        "",
        *totals(result),
        "",
        *growth(result["growth"]),
        "",
        *calls(result["rows"]),
    ]
    return "\n".join(line.rstrip() for line in lines)


def rows(all_rows: list[dict[str, Any]]) -> list[str]:
    columns = ["wall", "rounds", "floor", "target", "", "chain", "calls", "processor", "at 0 ms"]
    lines = [line("", columns)]
    for row in all_rows:
        cells = [
            f"{row['wall_ms']['median']:.0f} ms",
            f"{row['rounds']:.2f}",
            f"{row['floor']}",
            "" if row["target"] is None else f"{row['target']:g}",
            verdict(row["ok"]),
            f"{row['chain']}",
            f"{sum(row['calls'].values())}",
            f"{row['processor_ms']['median']:.1f} ms",
            f"{row['local_ms']['median']:.0f} ms",
        ]
        lines.append(line(row["name"], cells))
    if late := sum(row["late"] for row in all_rows):
        lines.append(f"The local AWS was later than a call may be {late} times: the machine is busy")
    return lines


def line(name: str, cells: list[str]) -> str:
    return f"{name:<36}" + "".join(f"{cell:>10}" for cell in cells)


def totals(result: dict[str, Any]) -> list[str]:
    binary, wire = result["binary"], result["wire_ms"]
    init, memory, zipped = result["init_ms"]["median"], result["peak_memory"], binary["zip_bytes"]
    lines = [
        total("Init, from start to first poll", f"{init:.1f} ms", f"{INIT_MS} ms", init <= INIT_MS),
        total("  of it the processor", f"{result['init_processor_ms']['median']:.1f} ms"),
        total("Peak memory", megabytes(memory), f"{MEMORY_MB} MB", memory <= MEMORY_MB * MEGABYTE),
        total("Package (zip)", megabytes(zipped), f"{ZIP_MB} MB", zipped <= ZIP_MB * MEGABYTE),
        total("Binary", megabytes(binary["bytes"])),
    ]
    many = {point["connections"]: point["create"]["wall_ms"]["median"] for point in result["growth"]["connections"]}
    if 100 in many:
        ratio = many[100] / many[1]
        name = "Create, hundredth connection / first"
        lines.append(total(name, f"{ratio:.2f}", f"{HUNDRED_TO_ONE}", ratio <= HUNDRED_TO_ONE))
    for name, micros in result["policy_us"].items():
        lines.append(total(f"Policy of 32 kB: {name}", f"{micros / 1000:.2f} ms", "1 ms", micros <= MERGE_US))
    own = wire["through"]["median"] - wire["direct"]["median"]
    lines.append(total("The proxy itself, a Create at 0 ms", f"{own:+.1f} ms"))
    return lines


def total(name: str, value: str, target: str = "", ok: bool | None = None) -> str:
    return line(name, [value, "", "", target, verdict(ok)])


def growth(all_growth: dict[str, Any]) -> list[str]:
    connections = [
        (f"{point['connections']:>7} connections  {verb}", point[verb])
        for verb in ("create", "delete")
        for point in all_growth["connections"]
    ]
    objects = [(f"{point['objects']:>7,} objects      create", point["create"]) for point in all_growth["objects"]]
    longest = max(told["wall_ms"]["median"] for _, told in connections + objects)
    lines = []
    for name, told in connections + objects:
        wall = told["wall_ms"]["median"]
        bar = "█" * max(1, round(wall / longest * WIDTH))
        lines.append(f"{name:<28}{bar:<{WIDTH}} {wall:.0f} ms: {told['calls']} calls, {told['chain']} in a row")
    return lines


def calls(all_rows: list[dict[str, Any]]) -> list[str]:
    """Which calls they were; rows with the same calls share a line."""
    names: dict[str, list[str]] = {}
    for row in all_rows:
        counted = (f"{action}{f' ×{number}' if number > 1 else ''}" for action, number in row["calls"].items())
        names.setdefault(", ".join(counted), []).append(row["name"])
    return ["Calls", *(f"  {'; '.join(some)}: {counted}" for counted, some in names.items())]


def comparison(binaries: dict[str, dict[str, Any]]) -> str:
    columns = ["init", "processor", "cold Create", "processor", "binary", "zip", "memory"]
    lines = [f"{'':<16}" + "".join(f"{column:>13}" for column in columns)]
    for name, one in binaries.items():
        times = ("init_ms", "init_processor_ms", "cold_create_ms", "cold_create_processor_ms")
        sizes = (one["binary"]["bytes"], one["binary"]["zip_bytes"], one["peak_memory"])
        lines.append(
            f"{name:<16}"
            + "".join(f"{one[what]['median']:>10.1f} ms" for what in times)
            + "".join(f"{megabytes(size):>13}" for size in sizes)
        )
    return "\n".join(lines)


def megabytes(size: int) -> str:
    return f"{size / MEGABYTE:.1f} MB"


def verdict(ok: bool | None) -> str:
    return "" if ok is None else "ok" if ok else "over"
