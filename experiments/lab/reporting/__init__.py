"""Show results as tables, figures and pages."""
