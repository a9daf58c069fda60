"""How it is told: the command line, terminal, Markdown, HTML and JSON."""
