//! Questions and what they are answered with. The expectations are what Consul 1.8.7 was recorded to say, unless a
//! comment tells otherwise.

mod laws;
mod limits;
mod names;
mod prepared;
mod upstream;
mod world;
