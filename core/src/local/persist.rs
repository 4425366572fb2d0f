//! The files that make API registrations, and the last word of TTL checks, survive a restart.
//!
//! One JSON object a file: `services/<hash>`, `checks/<hash>` and `checks/state/<hash>`, where the hash is of the id.
//! A member that is missing (a file of an older version) has its default; one that is not known is ignored.

use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

use convoke_config::definition::{CheckDefinition, ServiceDefinition};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Folder of services.
pub const SERVICES: &str = "services";
/// Folder of checks.
pub const CHECKS: &str = "checks";
/// Folder of the states of TTL checks.
pub const STATES: &str = "checks/state";

/// The last word of a TTL check.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TtlState {
    /// Check.
    pub id: String,
    /// Status.
    pub status: String,
    /// Output.
    pub output: String,
    /// Unix time in milliseconds when it is void.
    pub expires: u64,
}

/// What a file holds.
#[derive(Clone, Debug, PartialEq)]
pub enum Kept {
    /// `services/...`
    Service(ServiceDefinition),
    /// `checks/...`
    Check(CheckDefinition),
    /// `checks/state/...`
    State(TtlState),
}

/// Path of the file of a service or check under `folder`: FNV-1a of its id, 128 bits, in hex.
#[must_use]
pub fn path(folder: &str, id: &str) -> String {
    const OFFSET: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
    let hash = id.bytes().fold(OFFSET, |hash, byte| (hash ^ u128::from(byte)).wrapping_mul(PRIME));
    format!("{folder}/{hash:032x}")
}

/// Content of a file. `None` only if a value does not encode, which the types here always do.
fn encode<T: Serialize>(value: &T) -> Option<Vec<u8>> {
    serde_json::to_vec(value).ok()
}

/// File of a service: path and content. Its checks have files of their own.
#[must_use]
pub fn service(definition: &ServiceDefinition, id: &str) -> Option<(String, Vec<u8>)> {
    let alone = ServiceDefinition { checks: Vec::new(), ..definition.clone() };
    Some((path(SERVICES, id), encode(&alone)?))
}

/// File of a check: path and content.
#[must_use]
pub fn check(definition: &CheckDefinition) -> Option<(String, Vec<u8>)> {
    Some((path(CHECKS, &definition.id), encode(definition)?))
}

/// File of a TTL check's last word: path and content.
#[must_use]
pub fn state(state: &TtlState) -> Option<(String, Vec<u8>)> {
    Some((path(STATES, &state.id), encode(state)?))
}

/// Reads a file back.
///
/// # Errors
///
/// What is wrong with it, for the log.
pub fn read(path: &str, content: &[u8]) -> Result<Kept, String> {
    let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
    match folder {
        SERVICES => {
            let service: ServiceDefinition = decode(content)?;
            if service.name.is_empty() {
                return Err("it has no service name".to_string());
            }
            Ok(Kept::Service(service))
        }
        CHECKS => {
            let check: CheckDefinition = decode(content)?;
            if check.id.is_empty() {
                return Err("it has no check id".to_string());
            }
            Ok(Kept::Check(check))
        }
        STATES => decode(content).map(Kept::State),
        _ => Err("no file is kept under that name".to_string()),
    }
}

/// The default of `T`, with the members of the file laid over it.
fn decode<T: DeserializeOwned>(content: &[u8]) -> Result<T, String> {
    // A list of values would be read as the members in their order.
    if content.trim_ascii_start().first() != Some(&b'{') {
        return Err("it is not a JSON object".to_string());
    }
    serde_json::from_slice(content).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use core::time::Duration;

    #[test]
    fn what_is_kept_reads_back() {
        let definition = ServiceDefinition {
            name: "web".to_string(),
            id: "a/b c".to_string(),
            tags: vec!["x".to_string()],
            checks: vec![CheckDefinition::default()],
            ..ServiceDefinition::default()
        };
        let (path, content) = service(&definition, "a/b c").unwrap();
        assert!(path.strip_prefix("services/").unwrap().bytes().all(|b| b.is_ascii_hexdigit()));
        let back = ServiceDefinition { checks: vec![], ..definition };
        assert_eq!(read(&path, &content), Ok(Kept::Service(back)));

        let definition = CheckDefinition {
            id: "c".to_string(),
            ttl: Duration::from_millis(1500),
            failures_before_warning: Some(2),
            ..CheckDefinition::default()
        };
        let (path, content) = check(&definition).unwrap();
        assert_eq!(read(&path, &content), Ok(Kept::Check(definition)));

        let kept = TtlState { id: "c".to_string(), status: "passing".to_string(), output: "o".to_string(), expires: 9 };
        let (path, content) = state(&kept).unwrap();
        assert_eq!(read(&path, &content), Ok(Kept::State(kept)));
    }

    fn check_file(definition: &CheckDefinition) -> Vec<u8> {
        check(definition).unwrap().1
    }

    #[test]
    fn files_of_other_versions_are_read_and_broken_ones_are_told() {
        let check = read("checks/1", br#"{"id":"c","name":"n","future":[1]}"#).unwrap();
        let sparse = check_file(&CheckDefinition { id: "c".to_string(), ..CheckDefinition::default() });
        assert_eq!(sparse, br#"{"id":"c"}"#, "what is not set is not written");
        let expected = CheckDefinition { id: "c".to_string(), name: "n".to_string(), ..CheckDefinition::default() };
        assert_eq!(check, Kept::Check(expected));
        for bad in [&b""[..], b"{", b"[]", b"{}", br#"{"id":7}"#, br#"{"id":"c","ttl":"x"}"#, b"\0\0\0"] {
            assert!(read("checks/1", bad).is_err(), "{bad:?}");
            assert!(read("services/1", bad).is_err(), "{bad:?}");
        }
        assert!(read("services/1", br#"["","web","web"]"#).is_err(), "a list is no object");
        assert!(read("elsewhere/1", b"{}").is_err());
    }

    #[test]
    fn different_ids_have_different_files() {
        assert_ne!(path(CHECKS, "a"), path(CHECKS, "b"));
        assert_ne!(path(CHECKS, ""), path(CHECKS, "\0"));
    }
}
