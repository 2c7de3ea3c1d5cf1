"""Runs commands at the same time and shows what each has written once it has ended: no output is mixed with another.

``python -m tests.support.side_by_side COMMAND...``, each a line for the shell. The exit code is 1 if any has failed;
the others are not ended by that, so that one run shows every fault.
"""

import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed


def main(commands: Sequence[str]) -> int:
    """Run commands at the same time; return 1 if one of them has failed, and 0 otherwise."""
    failed = 0
    with ThreadPoolExecutor(max(1, len(commands))) as threads:
        for ended in as_completed([threads.submit(_run, command) for command in commands]):
            one = ended.result()
            failed |= one.returncode != 0
            how = f"  # failed with {one.returncode}" if one.returncode else ""
            print(f"$ {one.args[-1]}{how}\n{one.stdout.decode('utf-8', 'replace')}", flush=True)
    return int(failed)


def _run(command: str) -> "subprocess.CompletedProcess[bytes]":
    return subprocess.run(
        ["/bin/sh", "-c", command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
