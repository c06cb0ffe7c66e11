"""The reference-kernel study: how well each kernel holds trained weights, and why."""
