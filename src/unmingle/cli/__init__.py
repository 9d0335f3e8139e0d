"""The command line: each command parses, calls one function, and prints.

Importing this room must stay cheap (`unmingle --help` answers in under 0.3 s): only typer and what is
torch-free and numpy-free at import time belongs at the top of its modules.
"""
