//! The training loop, schedules, optimisers, checkpoints.
