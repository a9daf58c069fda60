"""Readers of what others measured and posted; one module a format. Text in, values out."""
