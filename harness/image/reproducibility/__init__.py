"""`harness build --check`: a second build elsewhere, and the comparison."""
