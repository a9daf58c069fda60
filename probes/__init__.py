"""What runs inside an installed stack: it imports that stack and the standard library, nothing else of this project."""
