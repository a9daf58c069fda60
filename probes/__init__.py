"""What runs inside an installed stack: so far the reference that its numbers are held against."""
