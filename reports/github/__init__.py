"""How the matrix is told on GitHub. Only `client` knows github3; all else is values in, values out."""
