"""The data contract: schema, dataset directories and their commit protocol, and all that reads or checks them. Knows
no task and no model."""
