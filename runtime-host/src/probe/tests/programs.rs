//! Scripts, and what is left of them: nothing.

use std::os::unix::fs::PermissionsExt as _;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::*;
use crate::probe::os_service;

/// Counting processes and descriptors of this process wants no other test that starts some meanwhile.
fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn kind(args: &[&str]) -> Kind {
    Kind::Script { args: args.iter().map(|&arg| arg.to_owned()).collect() }
}

fn sh(script: &str) -> Kind {
    kind(&["/bin/sh", "-c", script])
}

fn exited(code: i32, output: &str) -> Outcome {
    Outcome::Exited { code: Some(code), output: output.into(), written: output.len() as u64 }
}

/// Polls until it holds, for as long as a slow machine may need.
fn eventually(what: &str, holds: impl Fn() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < Duration::from_secs(30), "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Whether a process other than a zombie has this number.
fn lives(pid: &str) -> bool {
    match std::fs::read_to_string(format!("/proc/{pid}/stat")) {
        Ok(stat) => !stat.rsplit(')').next().unwrap().trim_start().starts_with(['Z', 'X']),
        Err(_) => false,
    }
}

/// Our children, zombies included.
fn children() -> Vec<String> {
    let me = std::process::id().to_string();
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Ok(stat) = std::fs::read_to_string(entry.path().join("stat")) else { continue };
        let after = stat.rsplit(')').next().unwrap().split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        if after.get(1) == Some(&me) {
            found.push(stat);
        }
    }
    found
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

fn words(output: &[u8]) -> Vec<String> {
    String::from_utf8_lossy(output).split_whitespace().map(str::to_owned).collect()
}

#[test]
fn exit_codes_and_output_in_order() {
    let _alone = alone();
    for code in [0, 1, 2, 255] {
        let script = format!("echo out; echo err >&2; echo out again; exit {code}");
        assert_eq!(probe(sh(&script), AMPLE, 4096), exited(code, "out\nerr\nout again\n"));
    }
    // Standard input is empty, and not ours.
    assert_eq!(probe(kind(&["cat"]), AMPLE, 4096), exited(0, ""));
    assert_eq!(probe(sh("kill -9 $$"), AMPLE, 4096), Outcome::Exited { code: None, output: Vec::new(), written: 0 });
}

#[test]
fn what_cannot_be_started() {
    let _alone = alone();
    for (args, want) in [
        (&["/nonexistent/program"][..], "fork/exec /nonexistent/program: no such file or directory"),
        (&["no-such-program-anywhere"], "exec: \"no-such-program-anywhere\": executable file not found in $PATH"),
        (&["/etc/passwd"], "fork/exec /etc/passwd: permission denied"),
        (&[], "exec: no command"),
    ] {
        assert_eq!(error(probe(kind(args), AMPLE, 100)), want);
    }
}

#[test]
fn the_last_bytes_of_a_flood_are_kept() {
    let _alone = alone();
    let outcome = probe(sh("head -c 5000000 /dev/zero; printf end"), AMPLE, 10);
    assert_eq!(outcome, Outcome::Exited { code: Some(0), output: b"\0\0\0\0\0\0\0end".to_vec(), written: 5_000_003 });
    let outcome = probe(sh("echo x"), AMPLE, 0);
    assert_eq!(outcome, Outcome::Exited { code: Some(0), output: Vec::new(), written: 2 });
    // One that never stops writing is stopped all the same.
    let Outcome::TimedOut { output } = probe(kind(&["yes"]), 300, 4) else { panic!() };
    assert_eq!(output.len(), 4);
}

#[test]
fn the_whole_group_dies_at_the_timeout() {
    let _alone = alone();
    // The shell, a child in the background, and a grandchild, all of which ignore milder signals.
    let script = "trap '' TERM HUP INT; echo $$; sleep 100 & echo $!; sh -c 'sleep 100 & echo $!; wait' & wait";
    let started = Instant::now();
    let Outcome::TimedOut { output } = probe(sh(script), 1000, 4096) else { panic!() };
    assert!(started.elapsed() >= Duration::from_millis(990) && started.elapsed() < Duration::from_secs(25));
    let pids = words(&output);
    assert_eq!(pids.len(), 3, "{pids:?}");
    for pid in &pids {
        eventually("a process of the group lives", || !lives(pid));
    }
    eventually("a child is not reaped", || children().is_empty());
}

#[test]
fn a_child_in_the_background_that_holds_the_output_is_part_of_the_run() {
    let _alone = alone();
    // It ends: so does the run, with its output.
    assert_eq!(probe(sh("(sleep 0.2; echo late) & echo early"), AMPLE, 100), exited(0, "early\nlate\n"));
    // It does not end: it is killed at the timeout, though the program itself is long gone.
    let Outcome::TimedOut { output } = probe(sh("sleep 100 & echo $!"), 500, 100) else { panic!() };
    let pid = words(&output).remove(0);
    eventually("the child in the background lives", || !lives(&pid));
    // One that lets go of the output is none of our business, and is left alone.
    let Outcome::Exited { output, .. } = probe(sh("sleep 100 >/dev/null 2>&1 & echo $!"), AMPLE, 100) else { panic!() };
    let pid = words(&output).remove(0);
    assert!(lives(&pid));
    let number = rustix::process::Pid::from_raw(pid.parse().unwrap()).unwrap();
    rustix::process::kill_process(number, rustix::process::Signal::KILL).unwrap();
    eventually("the child in the background lives", || !lives(&pid));
    eventually("a child is not reaped", || children().is_empty());
}

#[test]
fn one_that_closes_its_output_is_waited_for() {
    let _alone = alone();
    assert_eq!(probe(sh("exec >/dev/null 2>&1; sleep 0.3; exit 7"), AMPLE, 100), exited(7, ""));
    let started = Instant::now();
    let outcome = probe(sh("exec >/dev/null 2>&1; sleep 100"), 300, 100);
    assert_eq!(outcome, Outcome::TimedOut { output: Vec::new() });
    assert!(started.elapsed() < Duration::from_secs(25));
    eventually("a child is not reaped", || children().is_empty());
}

#[test]
fn a_cancelled_run_is_killed() {
    let _alone = alone();
    let file = std::env::temp_dir().join(format!("convoke-cancel-{}", std::process::id()));
    let _ = std::fs::remove_file(&file);
    let script = format!("echo $$ > {0}.new; mv {0}.new {0}; sleep 100", file.display());
    let wanted = Probe { kind: sh(&script), timeout: Duration::from_secs(100), output_limit: 100 };
    let started = async {
        while !file.exists() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let outcome = run(crate::probe::run(&Tokio, &wanted, started));
    assert_eq!(error(outcome), "cancelled");
    let pid = std::fs::read_to_string(&file).unwrap().trim().to_owned();
    eventually("the cancelled script lives", || !lives(&pid));
    eventually("a child is not reaped", || children().is_empty());
    std::fs::remove_file(&file).unwrap();

    // Before it even began.
    let outcome = run(crate::probe::run(&Tokio, &wanted, std::future::ready(())));
    assert_eq!(error(outcome), "cancelled");
    eventually("a child is not reaped", || children().is_empty());
    assert!(!file.exists());
}

#[test]
fn a_hundred_at_once_take_one_thread() {
    let _alone = alone();
    let threads = || std::fs::read_dir("/proc/self/task").unwrap().count();
    let wanted = Probe { kind: sh("sleep 1; echo done"), timeout: Duration::from_millis(AMPLE), output_limit: 100 };
    run(async {
        let all: Vec<_> = (0..100)
            .map(|_| {
                let wanted = wanted.clone();
                tokio::spawn(async move { crate::probe::run(&Tokio, &wanted, std::future::pending()).await })
            })
            .collect();
        // All of them run; the threads that started them are idle, and tokio keeps those for a while.
        while children().len() < 100 && !all.iter().any(tokio::task::JoinHandle::is_finished) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        for task in all {
            assert_eq!(task.await.unwrap(), exited(0, "done\n"));
        }
        let named = std::fs::read_dir("/proc/self/task").unwrap().flatten();
        let named = named.filter(|task| {
            std::fs::read_to_string(task.path().join("comm")).is_ok_and(|name| name.trim() == "convoke-scripts")
        });
        assert_eq!(named.count(), 1, "of {} threads", threads());
    });
    eventually("a child is not reaped", || children().is_empty());
}

#[test]
fn a_thousand_runs_leave_nothing_behind() {
    let _alone = alone();
    run(async {
        let go = |script: &str, timeout, cancelled: bool| {
            let wanted = Probe { kind: sh(script), timeout: Duration::from_millis(timeout), output_limit: 100 };
            async move {
                let cancel = async {
                    if !cancelled {
                        std::future::pending::<()>().await;
                    }
                    tokio::time::sleep(Duration::from_millis(2)).await;
                };
                crate::probe::run(&Tokio, &wanted, cancel).await
            }
        };
        go("true", AMPLE, false).await;
        let before = descriptors();
        for round in 0..1000 {
            match round % 4 {
                0 => assert_eq!(go("echo a; exit 1", AMPLE, false).await, exited(1, "a\n")),
                1 => assert_eq!(go("sleep 100 & sleep 100", 5, false).await, Outcome::TimedOut { output: vec![] }),
                2 => drop(go("sleep 100", AMPLE, true).await),
                _ => drop(go("exec /nonexistent/program", AMPLE, false).await),
            }
        }
        eventually("a child is not reaped", || children().is_empty());
        // Other tests open and close some meanwhile; a leak would be hundreds.
        eventually("descriptors leak", || descriptors() < before + 100);
    });
}

#[test]
fn units_of_the_system() {
    let _alone = alone();
    let fake = std::env::temp_dir().join(format!("convoke-systemctl-{}", std::process::id()));
    let script = "#!/bin/sh\n[ \"$1 $2\" = 'is-active --' ] || exit 9\ncase $3 in\n\
         good) echo active;;\n off) echo inactive; exit 3;;\n coming) echo activating; exit 3;;\n\
         mute) exit 1;;\n stuck) sleep 100;;\n\
         *) echo 'System has not been booted with systemd as init system (PID 1). Can'\\''t operate.' >&2; exit 1;;\nesac\n";
    std::fs::write(&fake, script).unwrap();
    std::fs::set_permissions(&fake, std::fs::Permissions::from_mode(0o755)).unwrap();
    let path = fake.to_str().unwrap();
    let ask = |unit: &str, ms| run(os_service::run(&Tokio, path, unit, Duration::from_millis(ms)));
    assert_eq!(ask("good", AMPLE), Outcome::Ok { detail: "active".into() });
    assert_eq!(ask("off", AMPLE), Outcome::NotOk { detail: "inactive".into() });
    assert_eq!(ask("coming", AMPLE), Outcome::NotOk { detail: "activating".into() });
    assert_eq!(ask("stuck", 300), Outcome::TimedOut { output: vec![] });
    assert!(error(ask("mute", AMPLE)).contains("without saying"));
    assert!(error(ask("x", AMPLE)).contains("System has not been booted with systemd"));
    assert!(error(ask("", AMPLE)).contains("os_service"));
    std::fs::remove_file(&fake).unwrap();
    assert_eq!(
        error(ask("good", AMPLE)),
        format!(
            "os_service checks need systemd, and its systemctl cannot be run: fork/exec {path}: no such file or directory"
        )
    );
}
