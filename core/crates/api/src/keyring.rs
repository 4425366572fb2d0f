//! `/v1/operator/keyring`: the gossip keys of all members.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use convoke_catalog::model::Str;
use convoke_swim::{Key, KeyOp, KeyReport};

use crate::call::{Answer, Call};
use crate::decode::{Decoded, failed, first, flag, int, members, text};
use crate::effect::{AgentRequest, Effect};
use crate::json::Json;
use crate::query::boolean;
use crate::response::{Outcome, Response};

/// What the members of one pool said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolKeys {
    /// Between datacenters.
    pub wan: bool,
    /// Of this agent.
    pub datacenter: String,
    /// Result; or why nothing was asked.
    pub report: Result<KeyReport, String>,
}

impl PoolKeys {
    /// As operators call the pool.
    fn name(&self) -> String {
        if self.wan { "WAN".to_string() } else { format!("{} (LAN)", self.datacenter) }
    }

    /// What went wrong in this pool: a line about all of it, then one for each member that refused or kept silent.
    fn errors(&self, errors: &mut Vec<String>) {
        let pool = self.name();
        let report = match &self.report {
            Ok(report) => report,
            Err(why) => return errors.push(format!("{pool} error: {why}")),
        };
        let (failed, members) = (report.errors.len(), report.members);
        if failed > 0 {
            errors.push(format!("{pool} error: {failed}/{members} nodes reported failure"));
        } else if report.replies < members {
            errors.push(format!("{pool} error: {}/{members} nodes reported success", report.replies));
        }
        errors.extend(report.errors.iter().map(|(member, why)| format!("{member}: {why}")));
        errors.extend(report.silent.iter().map(|member| format!("{member}: no answer in time")));
    }
}

/// `GET` lists, `POST` installs, `PUT` changes the key that seals, `DELETE` removes.
pub(crate) fn keyring(call: &Call<'_>) -> Answer {
    let list = call.req.method == "GET";
    let mut key = Str::default();
    if !list {
        first(call.req.body).and_then(|body| decode(&body, &mut key)).map_err(failed)?;
    }
    relay_factor(&call.params.text("relay-factor"))?;
    let local = local_only(&call.params.text("local-only"), list)?;
    if !call.config().server {
        return Err(Response::text(500, "keyring operations must run against a server node"));
    }
    let with = || Key::from_base64(&key).map_err(|why| unusable(call, &key, why.to_string()));
    let op = match call.req.method {
        "GET" => KeyOp::List,
        "POST" => KeyOp::Install(with()?),
        "PUT" => KeyOp::Use(with()?),
        _ => KeyOp::Remove(with()?),
    };
    Ok(Outcome::Effect(Effect::Agent(AgentRequest::Keys { op, local, pretty: call.pretty })))
}

fn decode(body: &serde_json::Value, key: &mut Str) -> Decoded<()> {
    members(body, "agent.keyringArgs")?.each(|name, value| match name {
        "key" => text(value, "keyringArgs.Key", key),
        // These count as parameters only.
        "token" => text(value, "keyringArgs.Token", &mut Str::default()),
        "relayfactor" => int(value, "keyringArgs.RelayFactor", &mut 0),
        "localonly" => flag(value, "keyringArgs.LocalOnly", &mut false),
        _ => Ok(false),
    })
}

/// Consul has replies go over so many members more. Here each reply is asked for over a stream, which needs no help, so
/// the number is only checked.
fn relay_factor(text: &str) -> Result<(), Response> {
    if text.is_empty() {
        return Ok(());
    }
    match text.parse::<i64>() {
        Ok(0..=5) => Ok(()),
        Ok(_) => Err(Response::text(400, "Bad request: Invalid relay-factor: Relay factor must be in range: [0, 5]")),
        Err(_) => Err(Response::text(
            400,
            format!("Bad request: Error parsing relay factor: strconv.Atoi: parsing {text:?}: invalid syntax"),
        )),
    }
}

fn local_only(text: &str, list: bool) -> Result<bool, Response> {
    let local = if text.is_empty() { Some(false) } else { boolean(text) };
    match local {
        Some(true) if !list => Err(Response::text(
            400,
            "Bad request: Invalid use of local-only: local-only can only be set for list requests",
        )),
        Some(local) => Ok(local),
        None => Err(Response::text(
            400,
            format!("Bad request: Error parsing local-only: strconv.ParseBool: parsing {text:?}: invalid syntax"),
        )),
    }
}

/// The refusal of what cannot be a key, in every pool that this agent is in. What is not base64 Consul finds before it
/// asks anybody; a wrong size each member tells, of which this agent speaks for itself.
fn unusable(call: &Call<'_>, text: &str, why: String) -> Response {
    let own = &call.ctx.agent.identity.node_name;
    let datacenter = &call.config().datacenter;
    let pools = [true, false].into_iter().filter(|wan| !wan || call.config().serf_wan.is_some()).map(|wan| {
        let report = match STANDARD.decode(text) {
            Err(wrong) => Err(format!("illegal base64 data at input byte {}", offset(&wrong))),
            Ok(_) => {
                let name = if wan { format!("{own}.{datacenter}") } else { own.clone() };
                let errors = BTreeMap::from([(name, why.clone())]);
                Ok(KeyReport { members: 1, replies: 1, errors, ..KeyReport::default() })
            }
        };
        PoolKeys { wan, datacenter: datacenter.clone(), report }
    });
    refusal(&pools.collect::<Vec<_>>()).unwrap_or_else(|| Response::text(500, why))
}

/// Where Go's decoder stops: at the wrong byte, or where four characters begin that are not whole.
fn offset(wrong: &base64::DecodeError) -> usize {
    use base64::DecodeError;
    match wrong {
        DecodeError::InvalidByte(at, _) | DecodeError::InvalidLastSymbol { offset: at, .. } => *at,
        DecodeError::InvalidLength(len) => len / 4 * 4,
        DecodeError::InvalidPadding => 0,
    }
}

/// 500 with everything that went wrong, if anything did.
fn refusal(pools: &[PoolKeys]) -> Option<Response> {
    let mut errors = Vec::new();
    for pool in pools {
        pool.errors(&mut errors);
    }
    if errors.is_empty() {
        return None;
    }
    let head = if errors.len() == 1 { "1 error".to_string() } else { format!("{} errors", errors.len()) };
    let lines: String = errors.iter().map(|error| format!("\n\t* {error}")).collect();
    Some(Response::text(500, format!("{head} occurred:{lines}\n\n")))
}

/// The reply to who asked. `pools`: the one between datacenters first.
#[must_use]
pub fn response(op: &KeyOp, pools: &[PoolKeys], pretty: bool) -> Response {
    if let Some(refusal) = refusal(pools) {
        return refusal;
    }
    if *op != KeyOp::List {
        return Response::empty(200);
    }
    let mut json = Json::new(pretty, 512);
    json.open_array();
    for pool in pools {
        let Ok(report) = &pool.report else { continue };
        json.item().open_object();
        json.key("WAN").bool(pool.wan);
        json.key("Datacenter").text(&pool.datacenter);
        json.key("Segment").text("");
        json.key("Keys").counts(&report.keys);
        json.key("PrimaryKeys").counts(&report.primary);
        json.key("NumNodes").u64(report.members as u64);
        json.close_object();
    }
    json.close_array();
    Response::json(200, json.finish())
}

impl Json {
    /// Keys, and how many members have each; in the order of their texts, as Go writes maps.
    fn counts(&mut self, keys: &BTreeMap<Key, usize>) {
        let shown: BTreeMap<String, usize> = keys.iter().map(|(key, count)| (key.to_base64(), *count)).collect();
        self.open_object();
        for (key, count) in shown {
            self.key_text(&key).u64(count as u64);
        }
        self.close_object();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(wan: bool, report: Result<KeyReport, String>) -> PoolKeys {
        PoolKeys { wan, datacenter: "dc1".into(), report }
    }

    #[test]
    fn a_list_shows_every_pool() {
        let (one, two) = (Key::new(&[1; 16]).unwrap(), Key::new(&[2; 16]).unwrap());
        let keys = BTreeMap::from([(two, 1), (one, 2)]);
        let report = KeyReport { members: 2, replies: 2, keys, primary: [(one, 2)].into(), ..KeyReport::default() };
        let got = response(&KeyOp::List, &[pool(true, Ok(report.clone())), pool(false, Ok(report))], false);
        let entry = |wan: bool| {
            format!(
                r#"{{"WAN":{wan},"Datacenter":"dc1","Segment":"","Keys":{{"{}":2,"{}":1}},"PrimaryKeys":{{"{}":2}},"NumNodes":2}}"#,
                one.to_base64(),
                two.to_base64(),
                one.to_base64()
            )
        };
        assert_eq!(String::from_utf8(got.body).unwrap(), format!("[{},{}]", entry(true), entry(false)));
        assert_eq!(got.status, 200);
    }

    #[test]
    fn a_change_is_told_whole_or_with_everybody_who_refused() {
        let fine = KeyReport { members: 1, replies: 1, ..KeyReport::default() };
        let op = KeyOp::Use(Key::new(&[1; 16]).unwrap());
        let got = response(&op, &[pool(true, Ok(fine.clone())), pool(false, Ok(fine.clone()))], true);
        assert_eq!(got, Response::empty(200));

        let errors = BTreeMap::from([("b".to_string(), "no".to_string())]);
        let refused = KeyReport { members: 3, replies: 2, errors, silent: ["c".into()].into(), ..KeyReport::default() };
        let silent = KeyReport { members: 2, replies: 1, silent: ["z".into()].into(), ..KeyReport::default() };
        for (pools, text) in [
            (
                vec![pool(true, Ok(fine.clone())), pool(false, Ok(refused))],
                "3 errors occurred:\n\t* dc1 (LAN) error: 1/3 nodes reported failure\n\t* b: no\n\t* c: no answer in time\n\n",
            ),
            (
                vec![pool(true, Ok(silent)), pool(false, Ok(fine))],
                "2 errors occurred:\n\t* WAN error: 1/2 nodes reported success\n\t* z: no answer in time\n\n",
            ),
            (vec![pool(false, Err("not now".into()))], "1 error occurred:\n\t* dc1 (LAN) error: not now\n\n"),
        ] {
            for op in [&op, &KeyOp::List] {
                let got = response(op, &pools, false);
                assert_eq!((got.status, String::from_utf8(got.body).unwrap().as_str()), (500, text));
            }
        }
    }

    use alloc::vec;
}
