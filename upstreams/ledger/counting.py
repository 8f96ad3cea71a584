"""How many tokens a model reads for each definition, by the tokenizer o200k_base.

The tokenizer's tables take more memory than a web process may have: they live in a child process for the time of the
counting. `python -m upstreams.ledger.counting` reads JSON texts, a line each, and prints a number for each.
"""

import json
import subprocess
import sys
from collections.abc import Sequence
from typing import Final

TOKENIZER: Final = "o200k_base"
TIMEOUT_S: Final = 60


def count(texts: Sequence[str]) -> list[int]:
    """The number of tokens of each text. Raises `subprocess.SubprocessError` when the child fails."""
    done = subprocess.run(
        [sys.executable, "-m", __name__],
        input="".join(f"{json.dumps(text)}\n" for text in texts),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=True,
    )
    return [int(line) for line in done.stdout.split()]


def _main() -> None:
    from bpe_openai._bindings import tokenizer_for_encoding  # the tables, and nothing of the wrapper around them

    tokenizer = tokenizer_for_encoding(TOKENIZER)
    for line in sys.stdin:
        print(tokenizer.count(json.loads(line)))  # noqa: T201  # its output is its answer


if __name__ == "__main__":
    _main()
