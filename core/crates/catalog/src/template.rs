//! Templates: prepared queries that are made from the name that is asked for.
//!
//! Every text of the query's service may hold `${...}`: `name.full`, `name.prefix` (the template's own name),
//! `name.suffix`, `agent.segment`, and `match(N)`, the Nth group of the template's regular expression in the full name,
//! empty if that does not match. `$${` stands for `${`.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;

use regex::{Captures, Regex};

use crate::model::Str;
use crate::queries::{PreparedQuery, QueryService};
use crate::regexp;

/// The one kind there is: used for every name that starts with the template's own.
const NAME_PREFIX_MATCH: &str = "name_prefix_match";

/// A template that is ready to be used.
#[derive(Clone, Debug)]
pub(crate) struct Template {
    pub(crate) query: Arc<PreparedQuery>,
    regex: Option<Regex>,
}

/// What can be named inside `${...}`.
struct Scope<'a> {
    full: &'a str,
    prefix: &'a str,
    suffix: &'a str,
    segment: &'a str,
    groups: Option<Captures<'a>>,
}

impl Template {
    /// # Errors
    /// What is wrong with the template, in Consul's words.
    pub(crate) fn compile(query: &Arc<PreparedQuery>) -> Result<Self, String> {
        let template = &query.template;
        if *template.kind != *NAME_PREFIX_MATCH {
            return Err(format!("Bad Template.Type '{}'", template.kind));
        }
        let regex = match &*template.regexp {
            "" => None,
            text => Some(regexp::compile(text).map_err(|why| format!("Bad Regexp: {why}"))?),
        };
        let compiled = Self { query: Arc::clone(query), regex };
        compiled.render(&query.name, "")?;
        Ok(compiled)
    }

    /// The query for this name, which starts with the template's.
    ///
    /// # Errors
    /// If a text of the service cannot be read; not for one that [`compile`](Self::compile) took.
    pub(crate) fn render(&self, name: &str, segment: &str) -> Result<PreparedQuery, String> {
        let prefix = &*self.query.name;
        let scope = Scope {
            full: name,
            prefix,
            // The same text but for its case, so that it has the same length in all but exotic alphabets.
            suffix: name.get(prefix.len()..).unwrap_or_default(),
            segment,
            groups: self.regex.as_ref().and_then(|regex| regex.captures(name)),
        };
        let mut query = PreparedQuery::clone(&self.query);
        render_service(&mut query.service, &scope)?;
        if query.template.remove_empty_tags
            && let Some(tags) = &mut query.service.tags
        {
            tags.retain(|tag| !tag.is_empty());
        }
        Ok(query)
    }
}

fn render_service(service: &mut QueryService, scope: &Scope<'_>) -> Result<(), String> {
    let one = |text: &mut Str, field: &str| -> Result<(), String> {
        if text.contains("${") {
            let rendered = render(text, scope);
            *text = rendered.map_err(|why| format!("Bad format '{text}' in Service.{field}: {why}"))?.into();
        }
        Ok(())
    };
    let list = |texts: &mut Option<Vec<Str>>, field: &str| {
        let mut texts = texts.iter_mut().flatten().enumerate();
        texts.try_for_each(|(at, text)| one(text, &format!("{field}[{at}]")))
    };
    let map = |pairs: &mut Option<BTreeMap<Str, Str>>, field: &str| {
        let mut pairs = pairs.iter_mut().flatten();
        pairs.try_for_each(|(key, text)| one(text, &format!("{field}[{key}]")))
    };
    one(&mut service.service, "Service")?;
    list(&mut service.failover_datacenters, "Failover.Datacenters")?;
    list(&mut service.ignore_check_ids, "IgnoreCheckIDs")?;
    one(&mut service.near, "Near")?;
    list(&mut service.tags, "Tags")?;
    map(&mut service.node_meta, "NodeMeta")?;
    map(&mut service.service_meta, "ServiceMeta")
}

fn render(text: &str, scope: &Scope<'_>) -> Result<String, String> {
    let syntax = || "parse error: syntax error".to_string();
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let before = rest.get(..at).unwrap_or_default();
        let after = rest.get(at + 2..).unwrap_or_default();
        if let Some(escaped) = before.strip_suffix('$') {
            out.push_str(escaped);
            out.push_str("${");
            rest = after;
            continue;
        }
        out.push_str(before);
        let (expression, after) = after.split_once('}').ok_or_else(syntax)?;
        out.push_str(scope.value(expression.trim()).ok_or_else(syntax)??);
        rest = after;
    }
    out.push_str(rest);
    Ok(out)
}

impl Scope<'_> {
    /// What an expression stands for; `None` if it is none.
    fn value(&self, expression: &str) -> Option<Result<&str, String>> {
        let word =
            |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._".contains(&b));
        let Some((name, argument)) = expression.split_once('(') else {
            return word(expression).then(|| match expression {
                "name.full" => Ok(self.full),
                "name.prefix" => Ok(self.prefix),
                "name.suffix" => Ok(self.suffix),
                "agent.segment" => Ok(self.segment),
                other => Err(format!("unknown variable accessed: {other}")),
            });
        };
        let (name, argument) = (name.trim(), argument.strip_suffix(')')?.trim());
        if !word(name) {
            return None;
        }
        if name != "match" {
            return Some(Err(format!("unknown function called: {name}")));
        }
        let group = argument.parse::<usize>().ok()?;
        Some(Ok(self.groups.as_ref().and_then(|groups| groups.get(group)).map_or("", |found| found.as_str())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queries::QueryTemplate;

    fn template(name: &str, regexp: &str, service: &str) -> Result<Template, String> {
        let template = QueryTemplate { kind: NAME_PREFIX_MATCH.into(), regexp: regexp.into(), remove_empty_tags: true };
        let tags = Some(["${match(2)}".into(), "fixed".into()].into());
        let service = QueryService { service: service.into(), tags, ..QueryService::default() };
        Template::compile(&Arc::new(PreparedQuery { name: name.into(), template, service, ..PreparedQuery::default() }))
    }

    #[test]
    fn names_become_services() {
        let geo = r"^geo-db-(.*?)-([^\-]+?)$";
        // template's name, regexp, service, name asked for, service found, tags
        let table = [
            ("geo-db", geo, "geo-db-${match(1)}", "geo-db-customer-master", "geo-db-customer", "master,fixed"),
            ("geo-db", geo, "geo-db-${match(1)}", "geo-db-nothing", "geo-db-", "fixed"),
            ("geo", "", "${name.full}", "geoxx", "geoxx", "fixed"),
            ("geo", "", "${ name.prefix }|${name.suffix}|${match(0)}", "GEOxx", "geo|xx|", "fixed"),
            ("", "", "catch-${name.suffix}", "anything", "catch-anything", "fixed"),
            ("", "", "$${name.full} costs $5", "x", "${name.full} costs $5", "fixed"),
            ("", ".*", "${match(0)}${match(9)}.${agent.segment}", "x", "x.alpha", "fixed"),
        ];
        for (own, regexp, service, asked, found, tags) in table {
            let query = template(own, regexp, service).unwrap().render(asked, "alpha").unwrap();
            assert_eq!(
                (&*query.service.service, query.service.tags.unwrap().join(",")),
                (found, tags.to_string()),
                "{asked}"
            );
        }
    }

    #[test]
    fn mistakes_are_told_in_consuls_words() {
        let table = [
            ("((", "x", "Bad Regexp: error parsing regexp: missing closing ): `((`"),
            ("", "${nofunc()", "Bad format '${nofunc()' in Service.Service: parse error: syntax error"),
            ("", "${nofunc()}", "Bad format '${nofunc()}' in Service.Service: unknown function called: nofunc"),
            ("", "${name}", "Bad format '${name}' in Service.Service: unknown variable accessed: name"),
            ("", "${match(x)}", "Bad format '${match(x)}' in Service.Service: parse error: syntax error"),
            ("", "${}", "Bad format '${}' in Service.Service: parse error: syntax error"),
        ];
        for (regexp, service, expected) in table {
            assert_eq!(template("", regexp, service).unwrap_err(), expected);
        }
    }
}
