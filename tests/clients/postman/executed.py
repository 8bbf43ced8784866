"""Fails unless newman executed every request of a collection: `executed.py COLLECTION REPORT`."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def requests(items: list[dict[str, Any]]) -> Iterator[str]:
    for one in items:
        if "item" in one:
            yield from requests(one["item"])
        else:
            yield one["name"]


def main() -> None:
    collection, report = (json.loads(Path(path).read_text(encoding="utf-8")) for path in sys.argv[1:])
    wanted = list(requests(collection["item"]))
    executed = {execution["item"]["name"] for execution in report["run"]["executions"]}
    missing = [name for name in wanted if name not in executed]
    if missing:
        sys.exit(f"not executed: {', '.join(missing)}")
    print(f"{len(wanted)} requests, all executed")


main()
