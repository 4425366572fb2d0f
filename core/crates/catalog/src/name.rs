//! Names of nodes, services and checks are compared without case, and where they are looked up.

use alloc::borrow::Cow;
use alloc::sync::Arc;

use crate::model::{Str, Tenancy};

/// Partition and namespace, borrowed: what a read is asked with.
///
/// Both are compared to the letter: whoever takes them from a client folds them first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scope<'a> {
    /// Admin partition.
    pub partition: &'a str,
    /// Namespace.
    pub namespace: &'a str,
}

impl Default for Scope<'_> {
    /// `default`, `default`.
    fn default() -> Self {
        Self { partition: "default", namespace: "default" }
    }
}

impl<'a> From<&'a Tenancy> for Scope<'a> {
    fn from(tenancy: &'a Tenancy) -> Self {
        Self { partition: &tenancy.partition, namespace: &tenancy.namespace }
    }
}

impl<'a> From<(&'a str, &'a str)> for Scope<'a> {
    fn from((partition, namespace): (&'a str, &'a str)) -> Self {
        Self { partition, namespace }
    }
}

/// The key a name is stored under: in lower case. Lower-case ASCII, the common case, comes back as it is, without
/// allocation.
#[must_use]
pub fn fold(name: &str) -> Cow<'_, str> {
    if name.bytes().all(|b| b.is_ascii() && !b.is_ascii_uppercase()) {
        Cow::Borrowed(name)
    } else if name.is_ascii() {
        Cow::Owned(name.to_ascii_lowercase())
    } else {
        Cow::Owned(name.to_lowercase())
    }
}

/// [`fold`] for a name that is shared already: the same allocation where there is nothing to fold.
#[must_use]
pub fn fold_shared(name: &Str) -> Str {
    match fold(name) {
        Cow::Borrowed(_) => Arc::clone(name),
        Cow::Owned(folded) => folded.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lower_case_is_not_copied() {
        assert!(matches!(fold("web-1.a_b"), Cow::Borrowed("web-1.a_b")));
        assert_eq!(fold("Web"), "web");
        assert_eq!(fold("WÉB"), "wéb");
        let name: Str = "web".into();
        assert!(Arc::ptr_eq(&name, &fold_shared(&name)));
    }
}
