//! Configuration text, durations and templates take anything.

use convoke_config::{Environment, Format, Source, duration, load};

fn source(format: Format, bytes: &[u8]) -> Option<Source> {
    let text = core::str::from_utf8(bytes).ok()?.to_owned();
    Some(Source::File { name: "fuzz".into(), format, text })
}

/// Any HCL loads or is explained.
#[test]
fn hcl() {
    bolero::check!().for_each(|bytes: &[u8]| {
        if let Some(s) = source(Format::Hcl, bytes) {
            let _ = load(&[s], &Environment::default());
        }
    });
}

/// Any JSON loads or is explained.
#[test]
fn json() {
    bolero::check!().for_each(|bytes: &[u8]| {
        if let Some(s) = source(Format::Json, bytes) {
            let _ = load(&[s], &Environment::default());
        }
    });
}

/// What prints as a duration parses to the same.
#[test]
fn durations() {
    bolero::check!().with_type::<i64>().for_each(|nanos| {
        let text = duration::format_nanos(*nanos);
        assert_eq!(duration::parse_nanos(&text), Ok(*nanos), "{text}");
    });
    bolero::check!().for_each(|bytes: &[u8]| {
        if let Ok(text) = core::str::from_utf8(bytes) {
            let _ = duration::parse_nanos(text);
        }
    });
}
