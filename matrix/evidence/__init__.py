"""Readers of the outside world: the index, wheels, machine code, Python source. One adapter each."""
