"""Python source of a wheel as a syntax tree; nothing of it is run."""

from __future__ import annotations

import ast
import warnings


def tree(source: bytes, name: str) -> ast.Module:
    """Parse one module. Raises SyntaxError where it is none, or too large or too deep for the parser.

    What Python warns of in it (an invalid escape) is the wheel's matter, not the user's.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return ast.parse(source, filename=name)
        except (ValueError, RecursionError, MemoryError) as error:
            raise SyntaxError(f"{name} cannot be parsed: {error}") from error
