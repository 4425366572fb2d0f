//! JSON text that somebody else wrote, passed through in the layout of the document it goes into.

use super::Json;

impl Json {
    /// Writes `text`, which should be one JSON value, in this document's layout. Nothing but white space and layout
    /// changes; text that is no JSON comes out as some other text, and nothing panics.
    pub fn raw(&mut self, text: &str) {
        let floor = self.depth;
        let mut rest = text.trim_ascii();
        while let Some(&b) = rest.as_bytes().first() {
            let mut used = 1;
            match b {
                b'{' | b'[' => {
                    self.open(b);
                }
                b'}' | b']' if self.depth > floor => self.close(b),
                b',' | b' ' | b'\t' | b'\r' | b'\n' | b'}' | b']' => {}
                b':' => self.out.extend_from_slice(if self.pretty { b": " } else { b":" }),
                _ => {
                    used = token(rest);
                    self.out.extend_from_slice(rest.as_bytes().get(..used).unwrap_or_default());
                    self.fresh = false;
                }
            }
            let next = rest.get(used..).unwrap_or_default();
            let ahead = next.trim_ascii_start();
            match (b, ahead.as_bytes().first()) {
                // The first thing in a container.
                (b'{' | b'[', Some(n)) if !matches!(n, b'}' | b']') => self.separate(),
                (b',', Some(_)) => self.separate(),
                _ => {}
            }
            rest = next;
        }
        // Whoever left something open gets it closed, so that the document around it stays whole.
        while self.depth > floor {
            self.close(b'}');
        }
        self.fresh = false;
    }
}

/// Length of the string, number or word that `text` begins with; at least one byte, and whole characters.
fn token(text: &str) -> usize {
    let mut bytes = text.bytes().enumerate();
    let string = text.starts_with('"');
    bytes.next();
    let mut escaped = false;
    for (at, b) in bytes {
        match b {
            _ if string && escaped => escaped = false,
            b'\\' if string => escaped = true,
            b'"' if string => return at + 1,
            b',' | b':' | b'{' | b'}' | b'[' | b']' | b' ' | b'\t' | b'\r' | b'\n' | b'"' if !string => return at,
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::String;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    fn written(pretty: bool, text: &str) -> String {
        let mut j = Json::new(pretty, 16);
        j.raw(text);
        String::from_utf8(j.out).unwrap()
    }

    #[test]
    fn layout_is_adapted() {
        let text = " { \"a\" : [ 1,2 , {} ,[]],\n\"b c\":\"x, { y\\\" }\" } ";
        assert_eq!(written(false, text), r#"{"a":[1,2,{},[]],"b c":"x, { y\" }"}"#);
        assert_eq!(
            written(true, text),
            "{\n    \"a\": [\n        1,\n        2,\n        {},\n        []\n    ],\n    \"b c\": \"x, { y\\\" }\"\n}"
        );
    }

    fn tree() -> impl Strategy<Value = serde_json::Value> {
        let leaf =
            prop_oneof![Just(serde_json::Value::Null), any::<i64>().prop_map(Into::into), ".*".prop_map(Into::into)];
        leaf.prop_recursive(4, 32, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Into::into),
                prop::collection::btree_map(".*", inner, 0..5)
                    .prop_map(|m| serde_json::Value::Object(m.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn any_json_keeps_its_meaning(tree in tree(), pretty in any::<bool>()) {
            let text = alloc::format!("{tree}");
            prop_assert_eq!(serde_json::from_str::<serde_json::Value>(&written(pretty, &text)).unwrap(), tree);
        }

        #[test]
        fn any_text_leaves_the_document_balanced(text in "[\\[\\]{}:,\"\\\\a 0é]{0,30}", pretty in any::<bool>()) {
            let mut j = Json::new(pretty, 16);
            j.open_array();
            j.item().raw(&text);
            j.close_array();
            prop_assert_eq!(j.depth, 0);
            let _: Vec<u8> = j.finish();
        }
    }
}
