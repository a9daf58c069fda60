"""Runs that somebody asks for on GitHub: who may, what is meant, and what is answered."""
