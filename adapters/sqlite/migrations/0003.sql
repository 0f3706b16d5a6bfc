-- `shape.placement` may hold the limits of a job's groups beside its placement, which an older
-- version would not keep to. This counts the leases of each.
CREATE INDEX job_shape_held ON job (shape) WHERE held = 1;
