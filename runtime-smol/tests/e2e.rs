//! The end-to-end tests with the `convoke-smol` binary.

#[path = "../../runtime-host/e2e/mod.rs"]
mod e2e;

const BINARY: &str = env!("CARGO_BIN_EXE_convoke-smol");

macro_rules! play {
    ($($name:ident),* $(,)?) => {$(
        #[test]
        fn $name() {
            e2e::$name(BINARY);
        }
    )*};
}

play!(
    register_and_discover,
    blocking_queries,
    survives_kill,
    reload,
    checks_run,
    bad_input,
    clear_start_errors,
    leave,
    watches,
    pool,
    hostile_gossip,
    cluster,
);
