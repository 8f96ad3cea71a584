"""What upstreams say of their definitions over time: what changed, whether it may be shown, who looked at it."""
