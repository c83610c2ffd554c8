"""The program on the worker's machine; standard library only."""
