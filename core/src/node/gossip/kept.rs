//! What an agent keeps of its pools on disk: keyrings, and where members were.

use alloc::collections::VecDeque;
use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

use convoke_config::config::Config;
use convoke_kit::{Deadline, Time};
use convoke_swim::{Key, Keyring, Members, State};
use serde::{Deserialize, Serialize};

use crate::node::Pool;
use crate::store::{Change, Recovered};

/// Folder of everything here.
pub(crate) const FOLDER: &str = "serf";
const MEMBERS: &str = "serf/local.members";
/// Addresses kept: as many as could be down together while one still answers.
const ADDRESSES: usize = 64;
/// Changes are gathered for so long before they are written.
const DEBOUNCE: Duration = Duration::from_secs(5);
/// Addresses of an earlier run tried together.
const BATCH: usize = 8;

/// The file of a pool's keyring, by Consul's name.
const fn keyring_path(pool: Pool) -> &'static str {
    match pool {
        Pool::Lan => "serf/local.keyring",
        Pool::Wan => "serf/remote.keyring",
    }
}

/// The file that keeps a keyring: a JSON list of keys in base64, the sealing one first.
pub(super) fn keyring_file(pool: Pool, keys: &[Key]) -> Option<Change> {
    let texts: Vec<String> = keys.iter().map(Key::to_base64).collect();
    let content = serde_json::to_vec_pretty(&texts).ok()?;
    Some(Change::Put { path: keyring_path(pool).to_string(), content })
}

/// A keyring as it is at the start.
#[derive(Debug, Default)]
pub(super) struct Kept {
    pub(super) ring: Keyring,
    /// It is in the file already.
    pub(super) on_disk: bool,
}

/// The keyring of a pool: the kept one, which was agreed on with the others, else `encrypt`.
///
/// # Errors
///
/// When there should be one and none can be used: an agent never falls back to plain text by itself.
pub(super) fn keyring(
    config: &Config,
    recovered: &Recovered,
    pool: Pool,
    warnings: &mut Vec<String>,
) -> Result<Kept, String> {
    let given = match &*config.encrypt {
        "" => None,
        text => Some(Key::from_base64(text).map_err(|why| format!("encrypt is no gossip key: {why}"))?),
    };
    let alone = |given: Option<Key>| {
        let keys: Vec<Key> = given.into_iter().collect();
        let ring = Keyring::new(&keys).map_err(|why| why.to_string())?;
        Ok(Kept { ring, on_disk: false })
    };
    let path = keyring_path(pool);
    let file = recovered.files.iter().find(|(at, _)| at == path).map(|(_, content)| content);
    let Some(content) = file.filter(|_| !config.disable_keyring_file) else { return alone(given) };
    match read_keyring(content) {
        Ok(keys) => {
            if given.is_some_and(|given| !keys.contains(&given)) {
                warnings.push(format!(
                    "the key in encrypt is not in the {} keyring kept in data_dir ({path}), which is used instead; install the \
                     key with keyring -install, or take it out of the configuration",
                    pool.name()
                ));
            }
            let ring = Keyring::new(&keys).map_err(|why| format!("{path} in data_dir: {why}"))?;
            Ok(Kept { ring, on_disk: true })
        }
        Err(why) if given.is_some() => {
            warnings.push(format!("{path} in data_dir cannot be used ({why}); the key in encrypt is used instead"));
            alone(given)
        }
        Err(why) => Err(format!(
            "{path} in data_dir cannot be used ({why}), and without it gossip would not be encrypted; set encrypt to the \
             key of the cluster"
        )),
    }
}

fn read_keyring(content: &[u8]) -> Result<Vec<Key>, String> {
    let texts: Vec<String> = serde_json::from_slice(content).map_err(|why| why.to_string())?;
    if texts.is_empty() {
        return Err("it holds no key".to_string());
    }
    texts.iter().map(|text| Key::from_base64(text).map_err(|why| why.to_string())).collect()
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct File {
    /// The agent left on purpose.
    left: bool,
    addresses: Vec<SocketAddr>,
}

/// Where members were, from one run to the next.
#[derive(Debug, Default)]
pub(super) struct Places {
    /// Of the earlier run, still to be tried.
    earlier: VecDeque<SocketAddr>,
    /// As written last.
    written: Vec<SocketAddr>,
    due: Option<Time>,
}

impl Places {
    /// As an earlier run left them. Who left on purpose stays away, unless it shall rejoin.
    pub(super) fn new(config: &Config, recovered: &Recovered, warnings: &mut Vec<String>) -> Self {
        let Some((_, content)) = recovered.files.iter().find(|(path, _)| path == MEMBERS) else {
            return Self::default();
        };
        match serde_json::from_slice::<File>(content) {
            Ok(file) => {
                let rejoin = !file.left || config.rejoin_after_leave;
                let earlier = if rejoin { file.addresses.iter().copied().collect() } else { VecDeque::new() };
                // A file that says "left" must be replaced even if the addresses are the same.
                Self { earlier, written: if file.left { Vec::new() } else { file.addresses }, due: None }
            }
            Err(why) => {
                warnings.push(format!("{MEMBERS} in data_dir is skipped: {why}"));
                Self::default()
            }
        }
    }

    /// Some more of the earlier run to be tried.
    pub(super) fn next(&mut self) -> Vec<SocketAddr> {
        let count = BATCH.min(self.earlier.len());
        self.earlier.drain(..count).collect()
    }

    /// The others need not be tried.
    pub(super) fn stop(&mut self) {
        self.earlier.clear();
    }

    /// The members changed.
    pub(super) fn changed(&mut self, now: Time) {
        self.due.get_or_insert(now + DEBOUNCE);
    }

    /// When they are written.
    pub(super) fn deadline(&self) -> Option<Deadline> {
        self.due.map(|at| Deadline { at, reason: "keep members" })
    }

    /// What is to be written now, if anything. An empty list never replaces one that may help.
    pub(super) fn write(&mut self, now: Time, members: &Members, own: &str) -> Option<Change> {
        self.due.take_if(|at| *at <= now)?;
        let addresses = gather(members, own);
        if addresses.is_empty() || addresses == self.written {
            return None;
        }
        self.written.clone_from(&addresses);
        file(&File { left: false, addresses })
    }

    /// What is to be written when the agent leaves.
    pub(super) fn leave(&mut self, members: &Members, own: &str) -> Option<Change> {
        self.due = None;
        let mut addresses = gather(members, own);
        if addresses.is_empty() {
            addresses = core::mem::take(&mut self.written);
        }
        file(&File { left: true, addresses })
    }
}

fn file(file: &File) -> Option<Change> {
    Some(Change::Put { path: MEMBERS.to_string(), content: serde_json::to_vec(file).ok()? })
}

/// Servers first, then who answers; those that do not may answer again. Who left is no help.
fn gather(members: &Members, own: &str) -> Vec<SocketAddr> {
    let mut all: Vec<(bool, bool, SocketAddr)> = members
        .iter()
        .filter(|member| member.state != State::Left && member.profile.name() != own)
        .map(|member| {
            let server = member.profile.tags().get("role") == Some("consul");
            (!member.state.is_up(), !server, member.profile.address())
        })
        .collect();
    all.sort_unstable();
    all.truncate(ADDRESSES);
    all.into_iter().map(|(_, _, address)| address).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    const A: &str = "pUqJrVyVRj5jsiYEkM/tFQYfWyJIv4s3XkvDwy7Cu5s=";
    const B: &str = "4jrA4VQeMnqmqQPZkqbJmdnVJ5CqWVqvqzDMfIXYb+s=";

    fn key(text: &str) -> Key {
        Key::from_base64(text).unwrap()
    }

    fn with(path: &str, content: &[u8]) -> Recovered {
        Recovered { files: vec![(path.to_string(), content.to_vec())], ..Recovered::default() }
    }

    #[test]
    fn the_kept_keyring_wins_and_says_so() {
        let Some(Change::Put { path, content }) = keyring_file(Pool::Lan, &[key(B)]) else { panic!("no file") };
        assert_eq!(path, "serf/local.keyring");
        let recovered = with(&path, &content);
        let mut config = Config { encrypt: A.to_string(), ..Config::default() };
        let mut warnings = Vec::new();
        let kept = keyring(&config, &recovered, Pool::Lan, &mut warnings).unwrap();
        assert_eq!((kept.ring.keys().collect::<Vec<_>>(), kept.on_disk), (vec![key(B)], true));
        assert!(warnings.len() == 1 && warnings[0].contains("not in the LAN keyring"), "{warnings:?}");
        let wan = keyring(&config, &recovered, Pool::Wan, &mut warnings).unwrap();
        assert_eq!((wan.ring.primary(), wan.on_disk), (Some(key(A)), false), "each pool has its own file");
        config.encrypt.clear();
        let kept = keyring(&config, &recovered, Pool::Lan, &mut warnings).unwrap();
        assert_eq!(kept.ring.primary(), Some(key(B)), "the file alone is enough");
        config.disable_keyring_file = true;
        assert!(keyring(&config, &recovered, Pool::Lan, &mut warnings).unwrap().ring.is_empty());
        assert_eq!(warnings.len(), 1);
    }

    #[test]
    fn a_damaged_keyring_never_means_plain_text() {
        let mut config = Config { encrypt: A.to_string(), ..Config::default() };
        for damaged in [&b"{"[..], b"[]", b"[\"short\"]"] {
            let recovered = with("serf/local.keyring", damaged);
            let mut warnings = Vec::new();
            config.encrypt = A.to_string();
            let kept = keyring(&config, &recovered, Pool::Lan, &mut warnings).unwrap();
            assert_eq!((kept.ring.primary(), kept.on_disk, warnings.len()), (Some(key(A)), false, 1));
            config.encrypt.clear();
            let why = keyring(&config, &recovered, Pool::Lan, &mut warnings).unwrap_err();
            assert!(why.contains("would not be encrypted") && why.contains("set encrypt"), "{why}");
        }
        config.encrypt = "nonsense".to_string();
        assert!(keyring(&config, &Recovered::default(), Pool::Lan, &mut Vec::new()).is_err());
    }

    #[test]
    fn who_left_stays_away_unless_told() {
        let content = br#"{"left":true,"addresses":["10.0.0.1:8301","10.0.0.2:8301"]}"#;
        let mut config = Config::default();
        let mut warnings = Vec::new();
        assert!(Places::new(&config, &with(MEMBERS, content), &mut warnings).next().is_empty());
        config.rejoin_after_leave = true;
        let mut places = Places::new(&config, &with(MEMBERS, content), &mut warnings);
        assert_eq!(places.next().len(), 2);
        assert!(places.next().is_empty() && warnings.is_empty());
        assert!(Places::new(&config, &with(MEMBERS, b"x"), &mut warnings).next().is_empty());
        assert_eq!(warnings.len(), 1);
    }

    #[test]
    fn an_empty_pool_does_not_wipe_the_addresses() {
        let content = br#"{"addresses":["10.0.0.1:8301"]}"#;
        let mut places = Places::new(&Config::default(), &with(MEMBERS, content), &mut Vec::new());
        places.changed(Time::ZERO);
        assert_eq!(places.write(Time::ZERO, &Members::default(), "n1"), None, "not due");
        let due = places.deadline().unwrap().at;
        assert_eq!(places.write(due, &Members::default(), "n1"), None);
        assert_eq!(places.deadline(), None);
        let Some(Change::Put { content, .. }) = places.leave(&Members::default(), "n1") else { panic!("nothing") };
        assert_eq!(content, br#"{"left":true,"addresses":["10.0.0.1:8301"]}"#);
    }
}
