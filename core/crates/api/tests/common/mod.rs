//! A small world to ask: tables that carry out what is proposed, and an agent that is as it is.
#![allow(dead_code)]

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use convoke_api::agent_view::{AgentView, Identity, LocalCheck, LocalService, Pool};
use convoke_api::effect::{AgentRequest, Effect};
use convoke_api::request::Request;
use convoke_api::response::{Outcome, Response, Wait};
use convoke_api::{Context, finish, handle};
use convoke_catalog::Table;
use convoke_catalog::catalog::Catalog;
use convoke_catalog::model::{Check, Service, Status, Str};
use convoke_config::config::Config;
use convoke_swim::{Profile, Tags, Versions};

pub(crate) struct World {
    pub(crate) catalog: Catalog,
    pub(crate) agent: AgentView,
    pub(crate) index: u64,
    pub(crate) remote: Option<IpAddr>,
}

/// What came back, ready to compare.
#[derive(Debug)]
pub(crate) struct Got {
    pub(crate) status: u16,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: String,
}

impl Got {
    pub(crate) fn of(response: Response) -> Self {
        let headers = response.headers.into_iter().map(|(k, v)| (k.into_owned(), v.into_owned())).collect();
        Self { status: response.status, headers, body: String::from_utf8_lossy(&response.body).into_owned() }
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|why| panic!("{why}: {}", self.body))
    }
}

impl Default for World {
    fn default() -> Self {
        let config = Config { server: true, node_name: "n1".into(), ..Config::default() };
        let address: SocketAddr = "127.0.0.1:8300".parse().unwrap();
        let me = |name: &str, port: u16, tags: Tags| {
            Pool::alone(Profile::new(name, SocketAddr::new(address.ip(), port), &tags, Versions::OURS))
        };
        let identity = Identity {
            node_name: "n1".into(),
            node_id: "40e4a748-2192-161a-0510-9bf59fe950b5".into(),
            advertise: "127.0.0.1".into(),
            version: "1.21.4".into(),
            revision: String::new(),
        };
        let agent = AgentView {
            config: Arc::new(config),
            identity: Arc::new(identity),
            services: Table::default(),
            checks: Table::default(),
            lan: me("n1", 8301, Tags::from([("dc", "dc1"), ("role", "consul"), ("wan_join_port", "8302")])),
            wan: Some(me("n1.dc1", 8302, Tags::from([("dc", "dc1"), ("role", "consul")]))),
            leader: Some(address),
            leads: true,
            peers: Arc::new(vec![address]),
            servers: Arc::new(vec![address]),
            revision: 1,
            leaving: false,
            encrypted: [false; 2],
            events: Arc::default(),
            raft: None,
            wan_coordinates: Arc::default(),
        };
        Self { catalog: Catalog::default(), agent, index: 10, remote: Some("127.0.0.1".parse().unwrap()) }
    }
}

impl World {
    pub(crate) fn configure(&mut self, change: impl FnOnce(&mut Config)) {
        change(Arc::make_mut(&mut self.agent.config));
    }

    pub(crate) fn outcome(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
        last: bool,
    ) -> Outcome {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let view = self.catalog.view();
        let ctx = Context {
            view: &view,
            agent: &self.agent,
            now_unix: Duration::from_secs(1),
            node: None,
            confirmed: self.agent.leader.is_some(),
            contact_millis: 0,
            seed: 7,
        };
        handle(&ctx, &Request { method, path, query, headers: &headers, body, remote: self.remote }, last)
    }

    /// Asks, and carries out proposals.
    pub(crate) fn ask(&mut self, method: &str, target: &str, body: &str) -> Got {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        match self.outcome(method, target, &[], body.as_bytes(), false) {
            Outcome::Done(response) => Got::of(response),
            Outcome::Effect(Effect::Propose { command, render }) => {
                self.index += 1;
                let mut response = render.response(&self.catalog.apply(self.index, *command).reply);
                let none: &[(&str, &str)] = &[];
                let request = Request { method, path, query, headers: &none, body: b"", remote: None };
                finish(&self.agent.config, &request, &mut response);
                Got::of(response)
            }
            other => panic!("{method} {target}: {other:?}"),
        }
    }

    pub(crate) fn get(&mut self, target: &str) -> Got {
        self.ask("GET", target, "")
    }

    pub(crate) fn put(&mut self, target: &str, body: &str) -> Got {
        self.ask("PUT", target, body)
    }

    /// Registers through the catalog, which must work.
    pub(crate) fn register(&mut self, body: &str) {
        let got = self.put("/v1/catalog/register", body);
        assert_eq!((got.status, got.body.as_str()), (200, "true"), "{body}");
    }

    /// What a write to the agent asks the node for.
    pub(crate) fn agent_request(&self, target: &str, body: &str) -> AgentRequest {
        match self.outcome("PUT", target, &[], body.as_bytes(), false) {
            Outcome::Effect(Effect::Agent(request)) => request,
            other => panic!("{target}: {other:?}"),
        }
    }

    /// How long a blocking query has to wait.
    pub(crate) fn wait(&self, target: &str) -> Wait {
        match self.outcome("GET", target, &[], b"", false) {
            Outcome::Wait(wait) => wait,
            other => panic!("{target}: {other:?}"),
        }
    }

    pub(crate) fn local_service(&mut self, id: &str, name: &str) {
        let row =
            Service { id: id.into(), name: name.into(), weight_passing: 1, weight_warning: 1, ..Service::default() };
        let local = LocalService { row: Arc::new(row), definition: Arc::default(), from_file: false };
        self.agent.services.insert(id.into(), Arc::new(local));
    }

    pub(crate) fn local_check(&mut self, id: &str, service: &str, status: Status) {
        let row = Check {
            node: "n1".into(),
            id: id.into(),
            name: id.into(),
            service_id: service.into(),
            service_name: service.into(),
            status,
            kind: "ttl".into(),
            ..Check::default()
        };
        let local = LocalCheck { row: Arc::new(row), definition: Arc::default(), from_file: false };
        self.agent.checks.insert(Str::from(id), Arc::new(local));
    }
}
