"""Many runs as one: recipes, kernels and machines combined."""
