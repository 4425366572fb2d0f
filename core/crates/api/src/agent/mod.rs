//! `/v1/agent/...`: what this agent holds and does itself.
//!
//! * [`reads`]: its services and checks. * [`health`]: their health, for load balancers. * [`writes`]: registrations,
//!   check results, maintenance. * [`pool`]: members, join, leave. * [`about`]: itself, metrics, logs.

pub(crate) mod about;
pub(crate) mod health;
pub(crate) mod pool;
pub(crate) mod reads;
pub(crate) mod writes;
