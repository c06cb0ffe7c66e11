"""Hold what every verb works with; nothing here imports a verb."""
