"""What runs inside an installed stack, and the reference that its numbers are held against."""
