"""Runs the executable specification of the oracle: one process for many runs.

usage: mini.py ORACLE_FOLDER < list of runs, a JSON array of arguments per line

A run that cannot proceed leaves a file `stuck` in its output folder.
"""
import contextlib
import io
import json
import os
import sys

sys.path.insert(0, sys.argv[1])
import oracle  # noqa: E402

for line in sys.stdin:
    args = oracle.parse_args(json.loads(line))
    os.makedirs(args.out, exist_ok=True)
    driver = oracle.Driver(args)
    try:
        driver.run()
    except RuntimeError as error:
        with open(os.path.join(args.out, "stuck"), "w") as file:
            file.write(str(error))
        continue
    with contextlib.redirect_stderr(io.StringIO()):
        driver.write(1.0)
