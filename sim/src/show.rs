//! What only the binary needs: a progress bar, and how much memory it took.

use std::io::IsTerminal as _;

use indicatif::{ProgressBar, ProgressStyle};

/// A bar on stderr, if that is a terminal.
pub(crate) fn bar(total: u64, unit: &str) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(total);
    let style =
        ProgressStyle::with_template(&format!("[{{elapsed}}] {{wide_bar}} {{pos}}/{{len}} {unit}, {{eta}} left"));
    if let Ok(style) = style {
        bar.set_style(style);
    }
    bar
}

/// Most memory this process ever held, in MiB; 0 where the system does not say.
pub(crate) fn peak_mib() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|rest| rest.trim().trim_end_matches("kB").trim().parse::<f64>().ok());
    kib.unwrap_or(0.0) / 1024.0
}
