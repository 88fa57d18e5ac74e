"""Many runs as one: recipes under kernels on machines, planned, carried out, and remembered."""
