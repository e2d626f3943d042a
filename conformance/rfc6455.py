"""Runs the suite's cases and judges them: rfc6455.py URL [all | CASE...]. See the script `rfc6455`."""

import asyncio
import collections
import fnmatch
import os
import sys

from kosoku import FailureError, run_fuzzingclient

# How many cases each group has: one that shrinks would otherwise pass unnoticed.
CASES = {"1": 16, "2": 11, "3": 7, "4": 10, "5": 20, "6": 145, "7": 37, "9": 54, "10": 1, "12": 90, "13": 126}
DEFAULT = ["1", "2", "3", "4", "5", "6", "7", "9", "10"]

# Cases whose outcome the RFC leaves open. The suite notes what the server does and passes it; any other case that it
# only notes would be news.
OPEN = {
    "7.1.6": "a message of 256 KiB and a close frame behind it: whether the echo comes before the close",
    "7.13.1": "close code 5000",
    "7.13.2": "close code 65536",
}

# Cases that kosoku 0.1.0 gets wrong: the server may send a message below its threshold uncompressed; then the case is
# given a `str`, hashes it as `bytes`, and dies of the TypeError. None of these runs.
WRONG = {f"13.{group}.{case}": "str instead of bytes" for group in (2, 5, 6, 7) for case in (1, 2, 3)}


def selection(arguments):
    """The cases to run as patterns, and how many they are (None when the caller chose single ones)."""
    if arguments and arguments != ["all"]:
        return arguments, None
    groups = list(CASES) if arguments else DEFAULT
    wrong = sum(any(case.startswith(f"{group}.") for group in groups) for case in WRONG)
    return [f"{group}.*" for group in groups], sum(CASES[group] for group in groups) - wrong


async def run(url, patterns):
    wrong = [case for case in WRONG if any(fnmatch.fnmatchcase(case, pattern) for pattern in patterns)]
    try:
        return await run_fuzzingclient(url, patterns, wrong or None, concurrency=2), wrong
    except FailureError as failure:
        return failure.results, wrong


def verdict(result):
    """What counts for one case: the worse of the messages' verdict and the close's."""
    behavior, close = result.behavior.value, result.behavior_close.value
    if (behavior, close) == ("OK", "OK"):
        return "OK"
    if result.case_id in OPEN and result.passed:
        return "OPEN"
    return f"{behavior}/{close}"


def main():
    url, *arguments = sys.argv[1:]
    patterns, expected = selection(arguments)
    results, wrong = asyncio.run(run(url, patterns))
    verdicts = collections.Counter()
    for result in results:
        outcome = verdict(result)
        verdicts["passed" if outcome == "OK" else "open" if outcome == "OPEN" else "failed"] += 1
        if outcome not in ("OK", "OPEN"):
            print(f"rfc6455: FAILED {result.case_id} {outcome}: {result.result} {result.result_close}")
    counts = ", ".join(f"{verdicts[name]} {name}" for name in ("passed", "open", "failed"))
    print(f"rfc6455: {counts}, {len(wrong)} left out as wrong")
    if expected is not None and len(results) != expected:
        print(f"rfc6455: {len(results)} cases ran, {expected} were expected")
        return 1
    return 1 if verdicts["failed"] or not results else 0


code = main()
sys.stdout.flush()
# Without the interpreter's own end: kosoku's threads may still want it, and abort the process.
os._exit(code)
