//! One allocation for text that many rows repeat: tags, names of checks, keys of meta, empty fields.
//!
//! Decoding a command allocates every field anew. What rows hold is the same with or without this; only memory differs.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use core::mem;

use hashbrown::HashSet;

use crate::command::Register;
use crate::model::{Check, Node, Service, Str};
use crate::txn::TxnOp;

/// Longer text is hardly ever the same twice.
const LONGEST: usize = 64;

/// Texts up to which nothing is swept.
const FEWEST: usize = 1024;

/// Texts in use. Those that no row uses any more are swept out whenever their number has doubled, so that it holds at
/// most twice as many as the rows, or [`FEWEST`].
#[derive(Clone, Debug, Default)]
pub(crate) struct Interner {
    texts: HashSet<Str>,
    /// Number of texts at which to sweep next.
    limit: usize,
}

impl Interner {
    /// Shares what is likely to be shared in a registration.
    pub(crate) fn registration(&mut self, register: &mut Register) {
        self.node(&mut register.node);
        register.services.iter_mut().for_each(|service| self.service(service));
        register.checks.iter_mut().for_each(|check| self.check(check));
    }

    /// The same for a transaction.
    pub(crate) fn transaction(&mut self, ops: &mut [TxnOp]) {
        for op in ops {
            match op {
                TxnOp::Kv(_) => {}
                TxnOp::Node { node, .. } => self.node(node),
                TxnOp::Service { service, .. } => self.service(service),
                TxnOp::Check { check, .. } => self.check(check),
            }
        }
    }

    /// The same for a node.
    pub(crate) fn node(&mut self, node: &mut Node) {
        self.share([&mut node.partition, &mut node.datacenter]);
        for map in [&mut node.tagged_addresses, &mut node.meta].into_iter().flatten() {
            self.share_map(map);
        }
    }

    /// The same for a service.
    pub(crate) fn service(&mut self, service: &mut Service) {
        self.share([&mut service.tenancy.partition, &mut service.tenancy.namespace, &mut service.kind]);
        self.share([&mut service.name, &mut service.address, &mut service.socket_path]);
        service.tags.iter_mut().for_each(|tag| self.share([tag]));
        service.meta.iter_mut().for_each(|meta| self.share_map(meta));
    }

    /// The same for a check.
    pub(crate) fn check(&mut self, check: &mut Check) {
        self.share([&mut check.tenancy.partition, &mut check.tenancy.namespace, &mut check.kind]);
        self.share([&mut check.id, &mut check.name, &mut check.notes, &mut check.output]);
        self.share([&mut check.service_name]);
        check.service_tags.iter_mut().for_each(|tag| self.share([tag]));
    }

    fn share_map(&mut self, map: &mut BTreeMap<Str, Str>) {
        let shared = mem::take(map).into_iter().map(|(mut key, mut value)| {
            self.share([&mut key, &mut value]);
            (key, value)
        });
        *map = shared.collect();
    }

    fn share<const N: usize>(&mut self, texts: [&mut Str; N]) {
        for text in texts {
            if text.is_empty() {
                *text = Str::default();
            } else if let Some(known) = self.texts.get(&**text) {
                *text = Arc::clone(known);
            } else if text.len() <= LONGEST {
                self.add(text);
            }
        }
    }

    fn add(&mut self, text: &Str) {
        if self.texts.len() >= self.limit.max(FEWEST) {
            self.texts.retain(|text| Arc::strong_count(text) > 1);
            self.texts.shrink_to_fit();
            self.limit = self.texts.len().saturating_mul(2);
        }
        self.texts.insert(Arc::clone(text));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;
    use alloc::string::String;

    fn register(name: &str) -> Register {
        let node = Node { name: "n".into(), meta: Some([("key".into(), "".into())].into()), ..Node::default() };
        let services = [Service { name: name.into(), tags: [name.into()].into(), ..Service::default() }].into();
        Register { node, services, ..Register::default() }
    }

    #[test]
    fn the_same_text_is_one_allocation() {
        let mut interner = Interner::default();
        let (mut one, mut other) = (register("web"), register("web"));
        let before = one.clone();
        interner.registration(&mut one);
        interner.registration(&mut other);
        assert_eq!(one, before);
        assert!(Arc::ptr_eq(&one.services[0].tags[0], &other.services[0].name));
        let key = |register: &Register| Arc::clone(register.node.meta.iter().flatten().next().unwrap().0);
        assert!(Arc::ptr_eq(&key(&one), &key(&other)));
        let mut long = register(&String::from_iter(['x'; LONGEST + 1]));
        let count = interner.texts.len();
        interner.registration(&mut long);
        assert_eq!(interner.texts.len(), count);
    }

    #[test]
    fn what_no_row_uses_is_swept() {
        let mut interner = Interner::default();
        for number in 0..10 * FEWEST {
            interner.registration(&mut register(&format!("{number}")));
        }
        assert!(interner.texts.len() <= FEWEST, "{}", interner.texts.len());
    }
}
