"""Keep and share the trials of an Optuna study."""
