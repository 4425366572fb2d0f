//! From sources to a configuration.

use crate::build;
use crate::normalise::{Report, normalise};
use crate::source::{Diagnostic, Environment, Format, Loaded, Source};
use crate::value::{Data, Object, merge};
use alloc::format;
use alloc::string::ToString;
use alloc::vec::Vec;

/// Reads, merges and validates. Lists of all sources are appended, those of flags first; maps are merged; of other values
/// the last one wins, `-hcl` over flags over files.
///
/// `Err` holds everything that is wrong, not just the first thing.
pub fn load(sources: &[Source], env: &Environment) -> Result<Loaded, Vec<Diagnostic>> {
    let mut report = Report::default();
    let mut merged = Object::new();
    let (mut first, mut files, mut values, mut fragments) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for (index, source) in sources.iter().enumerate() {
        let (name, tree, into) = match source {
            Source::File { name, format, text } => (name.clone(), read(*format, text, index), &mut files),
            Source::Fragment(text) => ("-hcl".to_string(), read(Format::Hcl, text, index), &mut fragments),
            Source::Flags(flags) => {
                report.files.push("flags".to_string());
                let (lists, single) =
                    flags.object().clone().into_iter().partition(|(_, member)| holds_lists(&member.value.data));
                first.push(normalise(&lists, true, &mut report));
                values.push(normalise(&single, true, &mut report));
                continue;
            }
        };
        report.files.push(name);
        match tree {
            Ok(object) => into.push(normalise(&object, false, &mut report)),
            Err(error) => report.error(error.at, error.message),
        }
    }
    for object in first.into_iter().chain(files).chain(values).chain(fragments) {
        merge(&mut merged, object);
    }
    let config = build::build(&merged, env, &mut report);
    for list in [&mut report.errors, &mut report.warnings, &mut report.refusals] {
        list.sort_by(|a, b| (&a.file, a.line).cmp(&(&b.file, b.line)));
        list.dedup();
    }
    if !report.errors.is_empty() {
        return Err(report.errors);
    }
    Ok(Loaded { config, warnings: report.warnings, refusals: report.refusals })
}

/// Whether a flag adds to what files say.
fn holds_lists(data: &Data) -> bool {
    match data {
        Data::List(_) => true,
        Data::Object(object) => object.values().all(|member| matches!(member.value.data, Data::List(_))),
        _ => false,
    }
}

fn read(format: Format, text: &str, index: usize) -> Result<Object, crate::value::SyntaxError> {
    let index = u32::try_from(index).unwrap_or(u32::MAX);
    let value = match format {
        Format::Hcl => crate::hcl::parse(text, index)?,
        Format::Json => crate::json::parse(text, index)?,
    };
    match value.data {
        Data::Object(object) => Ok(object),
        _ => Err(crate::value::SyntaxError {
            at: value.at,
            message: format!("a configuration is an object, not {}", value.kind()),
        }),
    }
}
