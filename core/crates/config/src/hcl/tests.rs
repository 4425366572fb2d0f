use super::*;
use alloc::string::ToString;
use proptest::prelude::*;

macro_rules! golden {
    ($($file:literal),* $(,)?) => {
        [$(($file, include_str!(concat!("../../tests/hcl/", $file)))),*]
    };
}

/// The recordings hold what HashiCorp's parser makes of each file; long lines are cut.
#[test]
fn golden() {
    let files = golden![
        "01_service_repeated.hcl",
        "02_checks_list.hcl",
        "03_labels_acl.hcl",
        "04_heredoc.hcl",
        "05_comments_crlf.hcl",
        "06_oneline_ports.hcl",
        "07_quoted_keys.hcl",
        "08_templates.hcl",
        "09_numbers.hcl",
        "10_config_entries.hcl",
        "11_connect_nested.hcl",
        "12_dup_attr.hcl",
        "13_idents_dotted.hcl",
        "14_services_array_of_blocks.hcl",
        "15_intentions_entry.hcl",
        "16_empty.hcl",
        "17_acl_tokens.hcl",
        "18_escapes.hcl",
        "19_noequals_list.hcl",
        "20_json_style.hcl",
    ];
    let recorded: Vec<(&str, &str)> = include_str!("../../tests/hcl/expected.txt")
        .lines()
        .filter_map(|line| line.strip_prefix("OK")?.trim_start().split_once(' '))
        .collect();
    assert_eq!(recorded.len(), files.len());
    for ((file, text), (name, expected)) in files.into_iter().zip(recorded) {
        assert_eq!(file, name);
        let read = parse(text, 0).unwrap_or_else(|e| panic!("{file}:{}: {e}", e.at)).to_json();
        match serde_json::from_str::<serde_json::Value>(expected) {
            Ok(whole) => assert_eq!(serde_json::from_str::<serde_json::Value>(&read).unwrap(), whole, "{file}"),
            Err(_) => assert!(read.starts_with(expected), "{file}: {read}"),
        }
    }
}

#[test]
fn reads() {
    for (text, json) in [
        ("\u{feff}a = 1", r#"{"a":1}"#),
        ("a = 1 b = 2, c = 3,", r#"{"a":1,"b":2,"c":3}"#),
        ("a { } b = {}", r#"{"a":[{}],"b":[{}]}"#),
        ("a = [1,,2,]", r#"{"a":[1,2]}"#),
        ("a = [[1], [{b = {}}]]", r#"{"a":[[1],[{"b":[{}]}]]}"#),
        ("s \"a\" \"b\" { c = 1 }", r#"{"s":[{"a":[{"b":[{"c":1}]}]}]}"#),
        ("s \"a\" {}\ns \"b\" {}", r#"{"s":[{"a":[{}]},{"b":[{}]}]}"#),
        ("é-1.x = true", r#"{"é-1.x":true}"#),
        ("a = 1 a = \"x\"", r#"{"a":"x"}"#),
        ("a = -0x10 b = -1.5 c = .5 d = 1E-2 e = 0 f = 0.25", r#"{"a":-16,"b":-1.5,"c":0.5,"d":0.01,"e":0,"f":0.25}"#),
        ("a = \"${\"}\"", r#"{"a":"${\"}"}"#),
        ("a = \"${\"x\"}$\"", r#"{"a":"${\"x\"}$"}"#),
        ("a = \"\\xff\"", "{\"a\":\"\u{fffd}\"}"),
        ("a = \"\\U0001F600\\ud800\"", "{\"a\":\"😀\u{fffd}\"}"),
        ("a = <<X\n  b\n  X\n", "{\"a\":\"  b\\n  \"}"),
        ("a = <<-X\n  b\n c\n  X\n", "{\"a\":\"  b\\n c\\n\"}"),
        ("a = <<-X\n  b\n   c\n  X\nd = 1", "{\"a\":\"b\\n c\\n\",\"d\":1}"),
        ("a = <<X\r\nb\r\nX\r\n", "{\"a\":\"b\\r\\n\"}"),
        ("a /* x\n */ = # y\n 1 // z", r#"{"a":1}"#),
    ] {
        let value = parse(text, 0).unwrap_or_else(|e| panic!("{text}: {e}"));
        assert_eq!(value.to_json(), json, "{text}");
    }
}

#[test]
fn refuses_with_position() {
    for (text, position, part) in [
        ("service { port = }", "1:18", "Unknown token: RBRACE"),
        ("data_dir = \n", "2:1", "Unknown token: EOF"),
        ("a", "1:2", "key 'a' expected start of object"),
        ("a {", "1:4", "closing RBRACE got: EOF"),
        ("a = 1 }", "1:7", "expected: IDENT | STRING got: RBRACE"),
        ("= 1", "1:1", "no object keys found"),
        ("{", "1:2", "unexpected end of JSON input"),
        ("a \"b\" = 1", "1:7", "nested object expected"),
        ("a = b", "1:5", "Unknown token: IDENT b"),
        ("a = [1 2]", "1:8", "expected comma or list end, got: NUMBER"),
        ("a = [1}", "1:7", "expected comma or list end, got: RBRACE"),
        ("a = [}", "1:6", "unexpected token while parsing list: RBRACE"),
        ("a = [", "1:6", "unexpected token while parsing list: EOF"),
        ("a = \"x", "1:5", "literal not terminated"),
        ("a = \"x\ny\"", "1:5", "literal not terminated"),
        ("a = \"\\q\"", "1:7", "illegal char escape"),
        ("a = \"\\8\"", "1:7", "illegal char escape"),
        ("a = \"\\400\"", "1:7", "illegal char escape"),
        ("a = 09", "1:5", "illegal octal number"),
        ("a = 0x", "1:5", "illegal hexadecimal number"),
        ("a = 99999999999999999999", "1:5", "number out of range"),
        ("a = 1e999", "1:5", "number out of range"),
        ("a = -", "1:6", "a number is expected"),
        ("\n\n /x", "3:2", "for a comment"),
        ("/* x", "1:1", "comment not terminated"),
        ("a = <X", "1:5", "second '<'"),
        ("a = <<X\nb\nX", "1:5", "heredoc not terminated"),
        ("a = << \n", "1:5", "zero-length heredoc anchor"),
        ("a = <<X y\nX\n", "1:5", "invalid characters in heredoc anchor"),
        ("a = 1 ? 2", "1:7", "illegal character '?'"),
        ("a = 1\na { b = 2 }", "2:3", "'a' was a plain value before"),
        ("a { b = 2 }\na = 1", "2:5", "'a' was a list or a block before"),
    ] {
        let error = parse(text, 3).expect_err(text);
        assert_eq!(error.at.to_string(), position, "{text}: {error}");
        assert!(error.message.contains(part), "{text}: {error}");
        assert_eq!(error.at.file, 3);
    }
}

#[test]
fn depth_is_bounded() {
    for (open, close) in [("a {", "}"), ("a = [", "]")] {
        let nest = |n: usize| {
            if open.ends_with('[') {
                "a = ".to_string() + &"[".repeat(n) + &close.repeat(n)
            } else {
                open.repeat(n) + &close.repeat(n)
            }
        };
        assert!(parse(&nest(MAX_DEPTH as usize - 1), 0).is_ok());
        assert!(parse(&nest(100_000), 0).unwrap_err().message.contains("nested deeper"));
    }
    assert!(parse(&("a ".repeat(100_000) + "{}"), 0).unwrap_err().message.contains("nested deeper"));
}

/// Writes a tree as HCL.
fn print(value: &Value, out: &mut String) {
    match &value.data {
        Data::Object(object) => {
            out.push_str("{\n");
            print_items(object, out);
            out.push('}');
        }
        Data::List(items) => {
            out.push('[');
            for item in items {
                print(item, out);
                out.push(',');
            }
            out.push(']');
        }
        Data::String(text) => {
            // `${` would begin a part that is taken as it stands.
            let mut quoted = String::new();
            crate::value::quote_into(&mut quoted, text);
            out.push_str(&quoted.replace('$', "\\u0024"));
        }
        _ => out.push_str(&value.to_json()),
    }
}

fn print_items(object: &Object, out: &mut String) {
    for (key, member) in object {
        crate::value::quote_into(out, key);
        out.push_str(" = ");
        print(&member.value, out);
        out.push('\n');
    }
}

fn tree() -> impl Strategy<Value = Value> {
    let at = Position::default();
    let leaf = prop_oneof![
        any::<bool>().prop_map(Data::Bool),
        any::<i64>().prop_map(Data::Int),
        (-1e6..1e6).prop_map(|x: f64| Data::Float(x + 0.5_f64.copysign(x))),
        "[^$]*|\\$x?".prop_map(Data::String),
    ]
    .prop_map(move |data| Value { data, at });
    let inner = leaf.prop_recursive(4, 32, 4, move |inner| {
        let members = prop::collection::btree_map("[a-z_\"\\\\é -]{0,6}", inner.clone(), 0..4).prop_map(move |m| {
            let object = m.into_iter().map(|(k, v)| (k, Member { at, value: listed(v) })).collect();
            Value { data: Data::Object(object), at }
        });
        let list = prop::collection::vec(inner, 0..4).prop_map(move |v| Value { data: Data::List(v), at });
        prop_oneof![members, list]
    });
    prop::collection::btree_map("[a-z_]{1,6}", inner, 0..4).prop_map(move |m| {
        let object = m.into_iter().map(|(k, v)| (k, Member { at, value: listed(v) })).collect();
        Value { data: Data::Object(object), at }
    })
}

proptest! {
    #[test]
    fn never_panics(text in "[a-c\"{}\\[\\]=,<>\\-.0-9x\\\\$\n/*# X]{0,60}|\\PC{0,60}") {
        let _ = parse(&text, 0);
    }

    #[test]
    fn what_is_printed_reads_back(tree in tree()) {
        let object = tree.as_object().unwrap();
        let mut text = String::new();
        print_items(&object, &mut text);
        // An object in a list and a list with an object in it are one thing as a member.
        let read = parse(&text, 0).unwrap();
        prop_assert_eq!(read.to_json(), tree.to_json(), "{}", text);
    }
}
