//! `convoke-sim`: plays scenarios and takes measurements.
fn main() {
    for scenario in convoke_sim::scenario::ALL {
        println!("{}", scenario.name);
    }
}
