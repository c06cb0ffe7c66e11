"""Build layers whose parameters are frequencies."""
