"""Adapters: one module a package under test, each with OFFERS, load() and make(device)."""
