"""Prints at a steady rate, and begins each piece with the time at which it is printed: BYTES_PER_SECOND SECONDS."""

import os
import sys
import time

EVERY = 0.02  # seconds between two pieces
LINE = 80  # bytes


def main(rate: float, seconds: float) -> None:
    """Print; a pipe that is full for a while is made up for afterwards."""
    line = b"." * (LINE - 1) + b"\n"
    piece = line * (round(rate * EVERY) // LINE - 1)
    begun = time.monotonic()
    for number in range(round(seconds / EVERY)):
        time.sleep(max(0.0, begun + number * EVERY - time.monotonic()))
        data = memoryview(f"@{time.time():.6f}@".encode().ljust(LINE - 1, b".") + b"\n" + piece)
        while data:
            data = data[os.write(1, data) :]


if __name__ == "__main__":
    main(float(sys.argv[1]), float(sys.argv[2]))
