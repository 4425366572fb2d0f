//! Logs: Consul's line format or JSON, to standard error or a file, with a level that can change while running.
//!
//! * [`format`](self): `2006-01-02T15:04:05.000Z [INFO]  agent.http: message: key=value`.
//! * [`file`]: a log file that rotates by size and age.
//! * [`tail`]: lines for `/v1/agent/monitor`.

pub mod file;
pub mod tail;

use std::fmt::{self, Write as _};
use std::io::Write as _;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use convoke_core::node::Level;
use tracing::field::{Field, Visit};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

use file::RotatingFile;
use tail::Tail;

/// What the log needs to know at start.
#[derive(Clone, Debug, Default)]
pub struct LogSettings {
    /// Least severe level shown.
    pub level: Option<Level>,
    /// JSON lines.
    pub json: bool,
    /// Also into this file.
    pub file: Option<file::FileSettings>,
}

/// The live log: change its level, read its tail.
#[derive(Clone, Debug)]
pub struct Log {
    level: Arc<AtomicU8>,
    tail: Tail,
}

impl Log {
    /// Installs the process-wide log. A second call in one process keeps the first.
    ///
    /// # Errors
    ///
    /// When the log file cannot be opened.
    pub fn install(settings: &LogSettings) -> std::io::Result<Self> {
        let level = Arc::new(AtomicU8::new(settings.level.unwrap_or(Level::Info) as u8));
        let tail = Tail::default();
        let file = settings.file.as_ref().map(RotatingFile::open).transpose()?.map(Mutex::new);
        let sink = Sink { level: Arc::clone(&level), json: settings.json, tail: tail.clone(), file };
        let _ = tracing::subscriber::set_global_default(tracing_subscriber::registry().with(sink));
        Ok(Self { level, tail })
    }

    /// Changes the least severe level shown.
    pub fn set_level(&self, level: Level) {
        self.level.store(level as u8, Ordering::Relaxed);
    }

    /// Lines as they are logged, for monitors.
    #[must_use]
    pub const fn tail(&self) -> &Tail {
        &self.tail
    }
}

/// Consul's level names, and a few it accepts.
///
/// # Errors
///
/// Names the levels there are.
pub fn parse_level(text: &str) -> Result<Level, String> {
    Ok(match text.to_ascii_uppercase().as_str() {
        "TRACE" => Level::Trace,
        "DEBUG" => Level::Debug,
        "" | "INFO" => Level::Info,
        "WARN" | "WARNING" => Level::Warn,
        "ERR" | "ERROR" => Level::Error,
        _ => return Err(format!("Invalid log level: {text}. Valid log levels are: [TRACE DEBUG INFO WARN ERR]")),
    })
}

/// Logs a line of the core at its level.
pub fn log(level: Level, component: &str, message: &str) {
    match level {
        Level::Trace => tracing::trace!(component, "{message}"),
        Level::Debug => tracing::debug!(component, "{message}"),
        Level::Info => tracing::info!(component, "{message}"),
        Level::Warn => tracing::warn!(component, "{message}"),
        Level::Error => tracing::error!(component, "{message}"),
    }
}

const fn level_of(level: tracing::Level) -> Level {
    match level {
        tracing::Level::TRACE => Level::Trace,
        tracing::Level::DEBUG => Level::Debug,
        tracing::Level::INFO => Level::Info,
        tracing::Level::WARN => Level::Warn,
        tracing::Level::ERROR => Level::Error,
    }
}

const fn label(level: Level) -> &'static str {
    match level {
        Level::Trace => "[TRACE]",
        Level::Debug => "[DEBUG]",
        Level::Info => "[INFO] ",
        Level::Warn => "[WARN] ",
        Level::Error => "[ERROR]",
    }
}

/// The one subscriber: formats a line once and hands it to whoever wants it.
struct Sink {
    level: Arc<AtomicU8>,
    json: bool,
    tail: Tail,
    file: Option<Mutex<RotatingFile>>,
}

impl<S: tracing::Subscriber> Layer<S> for Sink {
    fn enabled(&self, metadata: &tracing::Metadata<'_>, _: Context<'_, S>) -> bool {
        // Libraries below us log for their own developers; what matters reaches our log through errors.
        if !metadata.target().starts_with("convoke") && *metadata.level() > tracing::Level::WARN {
            return false;
        }
        let level = level_of(*metadata.level());
        level as u8 >= self.level.load(Ordering::Relaxed) || self.tail.wants(level)
    }

    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        let level = level_of(*event.metadata().level());
        let mut line = Line::default();
        event.record(&mut line);
        let component = line.component.as_deref().unwrap_or("agent");
        let now = timestamp(SystemTime::now());
        let text = || format!("{now} {} {component}: {}{}\n", label(level), line.message, line.fields);
        let json = || {
            let name = match level {
                Level::Trace => "trace",
                Level::Debug => "debug",
                Level::Info => "info",
                Level::Warn => "warn",
                Level::Error => "error",
            };
            let mut object = serde_json::Map::new();
            object.insert("@level".into(), name.into());
            object.insert("@message".into(), line.message.clone().into());
            object.insert("@module".into(), component.into());
            object.insert("@timestamp".into(), now.clone().into());
            for (k, v) in &line.pairs {
                object.insert(k.clone(), v.clone().into());
            }
            format!("{}\n", serde_json::Value::Object(object))
        };
        if level as u8 >= self.level.load(Ordering::Relaxed) {
            let shown = if self.json { json() } else { text() };
            // A closed standard error must not end the agent.
            let _ = std::io::stderr().lock().write_all(shown.as_bytes());
            if let Some(file) = &self.file
                && let Ok(mut file) = file.lock()
            {
                file.write(shown.as_bytes());
            }
        }
        self.tail.publish(level, &text, &json);
    }
}

#[derive(Default)]
struct Line {
    component: Option<String>,
    message: String,
    fields: String,
    pairs: Vec<(String, String)>,
}

impl Visit for Line {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "component" => self.component = Some(value.to_owned()),
            "message" => value.clone_into(&mut self.message),
            name => self.pair(name, value.to_owned()),
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        match field.name() {
            "message" => self.message = format!("{value:?}"),
            name => self.pair(name, format!("{value:?}")),
        }
    }
}

impl Line {
    fn pair(&mut self, name: &str, value: String) {
        let start = if self.fields.is_empty() { ": " } else { " " };
        let quote = if value.is_empty() || value.contains([' ', '"', '=']) { "\"" } else { "" };
        let _ = write!(self.fields, "{start}{name}={quote}{}{quote}", value.replace('"', "\\\""));
        self.pairs.push((name.to_owned(), value));
    }
}

/// `2006-01-02T15:04:05.000Z`, always UTC.
#[must_use]
pub fn timestamp(at: SystemTime) -> String {
    let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let (days, secs) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
    let (y, m, d) = civil(days);
    format!(
        "{y:04}-{m:02}-{d:02}T{:02}:{:02}:{:02}.{:03}Z",
        secs / 3600,
        secs / 60 % 60,
        secs % 60,
        since.subsec_millis()
    )
}

/// Year, month and day of a day number since 1970-01-01, by counting from March in 400-year eras of 146,097 days.
const fn civil(days: u64) -> (u64, u64, u64) {
    let z = days + 719_468;
    let (era, doe) = (z / 146_097, z % 146_097);
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let month = if mp < 10 { mp + 3 } else { mp - 9 };
    let year = yoe + era * 400 + if month <= 2 { 1 } else { 0 };
    (year, month, doy - (153 * mp + 2) / 5 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn timestamps_are_right_around_leap_days_and_centuries() {
        for (secs, want) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400, "2000-02-29T00:00:00.000Z"),
            (1_709_251_199, "2024-02-29T23:59:59.000Z"),
            (1_709_251_200, "2024-03-01T00:00:00.000Z"),
            (4_107_542_400, "2100-03-01T00:00:00.000Z"),
        ] {
            assert_eq!(timestamp(SystemTime::UNIX_EPOCH + Duration::from_secs(secs)), want);
        }
    }

    #[test]
    fn levels_parse_as_people_write_them() {
        assert_eq!(parse_level("err"), Ok(Level::Error));
        assert_eq!(parse_level("Warn"), Ok(Level::Warn));
        assert!(parse_level("loud").unwrap_err().contains("TRACE DEBUG INFO WARN ERR"));
    }

    #[test]
    fn fields_follow_the_message_quoted_where_needed() {
        let mut line = Line::default();
        line.pair("check", "web".into());
        line.pair("error", "no such host".into());
        assert_eq!(line.fields, ": check=web error=\"no such host\"");
    }
}
