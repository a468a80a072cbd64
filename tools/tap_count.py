#!/usr/bin/env python3
"""Count the tests in a log of `meson test`, line by line of their TAP.

    tools/tap_count.py LOG.json

Prints "PASSED FAILED SKIPPED" on standard output, and on standard error the output of
each program in which something failed. Not meson's own verdict: it counts programs, it
takes cmocka's "not ok # SKIP" for a failure, and a script that ends before its plan for
a success.
"""
import json
import re
import sys

TEST = re.compile(r"(not )?ok\b[^#]*(#\s*skip)?", re.IGNORECASE)
PLAN = re.compile(r"1\.\.(\d+)")
MAX_OUTPUT_LINES = 200


def count(test):
    """(passed, failed, skipped, why it failed besides its "not ok" lines)"""
    passed = failed = skipped = 0
    plan = None
    for line in test.get("stdout", "").splitlines():
        match = TEST.match(line)
        if match and match[2]:
            skipped += 1
        elif match and match[1]:
            failed += 1
        elif match:
            passed += 1
        elif PLAN.match(line):
            plan = (plan or 0) + int(PLAN.match(line)[1])

    ran = passed + failed + skipped
    why = None
    if test["result"] in ("TIMEOUT", "INTERRUPT"):
        why = "it was stopped: " + test["result"].lower()
    elif test["returncode"] != 0 and failed == 0:
        why = f"it ended with status {test['returncode']}"
    elif plan is None:
        why = "it printed no plan (1..N)"
    elif plan != ran:
        why = f"it planned {plan} tests and ran {ran}"
    return passed, failed + (1 if why else 0), skipped, why


def show(test, why):
    text = test.get("stdout", "")
    if test.get("stderr"):
        text += "--- standard error\n" + test["stderr"]
    lines = text.splitlines()
    print(f"=== {test['name']}: {why or 'a test failed'}", file=sys.stderr)
    if len(lines) > MAX_OUTPUT_LINES:
        print(f"... {len(lines) - MAX_OUTPUT_LINES} lines before these", file=sys.stderr)
    for line in lines[-MAX_OUTPUT_LINES:]:
        print("    " + line, file=sys.stderr)


def main(path):
    total = [0, 0, 0]
    with open(path, encoding="utf-8") as log:
        for line in log:
            test = json.loads(line)
            passed, failed, skipped, why = count(test)
            if failed:
                show(test, why)
            for index, number in enumerate((passed, failed, skipped)):
                total[index] += number
    print(*total)


if __name__ == "__main__":
    main(sys.argv[1])
