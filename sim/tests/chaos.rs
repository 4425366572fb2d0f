//! Real processes: plays nothing unless `CONVOKE_BIN` names an agent.
#![forbid(unsafe_code)]

use convoke_sim::chaos::{Options, run};

#[test]
fn what_clients_saw_of_servers_that_were_killed_can_be_explained() {
    let Some(binary) = std::env::var_os("CONVOKE_BIN") else { return };
    let options = Options { binary: binary.into(), seconds: 20, seed: 1, out: None };
    match run(&options) {
        Ok(report) => {
            assert!(report.checked.answered > 100, "hardly anything was answered: {report:?}");
            assert!(report.kills + report.stops + report.kills_of_all > 3, "hardly anything went wrong: {report:?}");
        }
        Err(failure) => panic!("{failure}"),
    }
}
