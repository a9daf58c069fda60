"""What runs inside an installed stack. Nothing yet: probes come with the executed lamp."""
