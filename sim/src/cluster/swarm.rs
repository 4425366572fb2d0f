//! Lives drawn from seeds.
