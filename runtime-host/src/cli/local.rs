//! Commands that ask no agent: `version`, `keygen`, `validate`.

use super::agent::config_format;
use super::command::{Action, Cx, DONE, Entry, Failure, Outcome, texts};
use super::flags::{Parsed, switch, text};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use convoke_config::Diagnostic;
use serde_json::json;
use std::path::Path;

/// The version of Consul whose behaviour this is, and of this program.
const NUMBER: &str = env!("CARGO_PKG_VERSION");

/// The RPC protocol: what is spoken, the least and the greatest that is understood.
const PROTOCOL: (u8, u8, u8) = (2, 2, 3);

/// The family.
pub(super) const COMMANDS: &[Entry] = &[
    VERSION,
    Entry {
        name: "keygen",
        about: "Make a key for gossip encryption",
        usage: "",
        detail: "Prints 32 random bytes in base64, for -encrypt.",
        flags: Vec::new,
        action: Action::Local(keygen),
    },
    Entry {
        name: "validate",
        about: "Check configuration files and folders",
        usage: "[options] FILE_OR_DIRECTORY ...",
        detail: "Reads them as an agent would that is started with them all. Exits with 1 if they are wrong; what an \
                 agent would refuse or pass over is printed as a warning.",
        flags: || {
            vec![
                text("config-format", "hcl|json", "All files are of this format, whatever they are called."),
                switch("quiet", "Print nothing when the configuration is valid."),
            ]
        },
        action: Action::Local(validate),
    },
];

/// `version`, which also answers to `-v` and `--version`.
pub(super) const VERSION: Entry = Entry {
    name: "version",
    about: "Print the version",
    usage: "[options]",
    detail: "",
    flags: || vec![text("format", "pretty|json", "pretty unless set.")],
    action: Action::Local(version),
};

fn version(cx: &mut Cx<'_>, parsed: &Parsed) -> Outcome {
    let (default, least, most) = PROTOCOL;
    match parsed.text("format").unwrap_or("pretty") {
        "pretty" => {
            cx.say(format!("Consul v{NUMBER}"));
            cx.say("Convoke, which speaks as this version of Consul does");
            cx.say(format!("Protocol {default} spoken by default, understands {least} to {most}"));
        }
        "json" => {
            let rpc = json!({ "Default": default, "Min": least, "Max": most });
            let text = json!({ "Version": NUMBER, "Revision": "convoke", "Prerelease": "", "RPC": rpc });
            cx.say(format!("{text:#}"));
        }
        other => return Err(format!("Unknown format {other:?}: use pretty or json").into()),
    }
    DONE
}

fn keygen(cx: &mut Cx<'_>, _: &Parsed) -> Outcome {
    let mut key = [0; 32];
    cx.io.entropy(&mut key).map_err(|why| format!("Error reading random data: {why}"))?;
    cx.say(STANDARD.encode(key));
    DONE
}

fn validate(cx: &mut Cx<'_>, parsed: &Parsed) -> Outcome {
    let paths = texts(parsed)?;
    if paths.is_empty() {
        return Err("Must specify at least one config file or directory".into());
    }
    let format = config_format(parsed)?;
    let failed = |why: &[Diagnostic]| Failure::from(format!("Config validation failed: {}", lines(why)));
    let mut sources = Vec::new();
    for path in paths {
        crate::files::path(Path::new(path), format, &mut sources).map_err(|why| failed(&[why]))?;
    }
    let loaded = convoke_config::load(&sources, &crate::interfaces::environment()).map_err(|why| failed(&why))?;
    for warning in &loaded.warnings {
        cx.remark(format!("Warning: {warning}"));
    }
    for refusal in &loaded.refusals {
        cx.remark(format!("Warning: {refusal}; an agent will not start with this"));
    }
    if !parsed.on("quiet") {
        cx.say("Configuration is valid!");
    }
    DONE
}

fn lines(diagnostics: &[Diagnostic]) -> String {
    diagnostics.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}
