//! `kv`.

use super::{Agent, play, scratch, table};

#[test]
fn kv_get() {
    let one = r#"[{"LockIndex":0,"Key":"dir/e","Flags":9,"Value":"eA==","CreateIndex":20,"ModifyIndex":21}]"#;
    let two = r#"[{"Key":"dir/b","Flags":0,"Value":"dHdvIHdvcmRz","CreateIndex":1,"ModifyIndex":2,"LockIndex":0},
        {"Key":"dir/e","Flags":9,"Value":null,"CreateIndex":3,"ModifyIndex":4,"LockIndex":5,"Session":"s"}]"#;
    let shown = "CreateIndex      20\nFlags            9\nKey              dir/e\nLockIndex        0\n\
                 ModifyIndex      21\nSession          -\nValue            x\n";
    table(
        &[
            ("GET /v1/kv/dir/e", one),
            ("GET /v1/kv/dir/?recurse=", two),
            ("GET /v1/kv/?recurse=", two),
            ("GET /v1/kv/dir/?keys=&separator=%2F", r#"["dir/b","dir/e"]"#),
            ("GET /v1/kv/?keys=&separator=", r#"["a"]"#),
        ],
        &[
            (&["kv", "get", "dir/e"], 0, "x\n", &["GET /v1/kv/dir/e"]),
            (&["kv", "get", "/dir/e"], 0, "x\n", &["GET /v1/kv/dir/e"]),
            (&["kv", "get", "-base64", "dir/e"], 0, "eA==\n", &["GET /v1/kv/dir/e"]),
            (&["kv", "get", "-detailed", "dir/e"], 0, shown, &["GET /v1/kv/dir/e"]),
            (&["kv", "get", "-recurse", "dir/"], 0, "dir/b:two words\ndir/e:\n", &["GET /v1/kv/dir/?recurse="]),
            (&["kv", "get", "-recurse", ""], 0, "dir/b:two words\ndir/e:\n", &["GET /v1/kv/?recurse="]),
            (&["kv", "get", "-keys", "dir/"], 0, "dir/b\ndir/e\n", &["GET /v1/kv/dir/?keys=&separator=%2F"]),
            (&["kv", "get", "-keys", "-separator=", ""], 0, "a\n", &["GET /v1/kv/?keys=&separator="]),
            (&["kv", "get"], 1, "", &[]),
            (&["kv", "get", "/"], 1, "", &[]),
            (&["kv", "get", "a", "b"], 1, "", &[]),
        ],
    );
    let none =
        Agent::default().refuse("GET /v1/kv/absent", 404, "").refuse("GET /v1/kv/x?keys=&separator=%2F", 404, "");
    let ran = play(&none, &[], "", &["kv", "get", "absent"]);
    assert_eq!((ran.code(), ran.err.as_str()), (Some(1), "Error! No key exists at: absent\n"));
    assert_eq!(play(&none, &[], "", &["kv", "get", "-keys", "x"]).code(), Some(0));
}

#[test]
fn kv_put_and_delete() {
    let file = scratch("kv").join("val");
    std::fs::write(&file, "file value").expect("writes");
    let at_file = format!("@{}", file.display());
    let no_file = format!("@{}x", file.display());
    let put = |target: &str| format!("PUT /v1/kv/{target}");
    table(
        &[
            (&put("a"), "true"),
            (&put("f?flags=9"), "true"),
            (&put("l?acquire=s"), "true"),
            (&put("l?release=s"), "false"),
            (&put("c?cas=1"), "false\n"),
            (&put("c?cas=0"), "true"),
            ("DELETE /v1/kv/a", "true"),
            ("DELETE /v1/kv/dir/?recurse=", "true"),
            ("DELETE /v1/kv/a?cas=7", "false"),
        ],
        &[
            (&["kv", "put", "a", "1"], 0, "Success! Data written to: a\n", &["PUT /v1/kv/a 1"]),
            (&["kv", "put", "/a"], 1, "", &[]),
            (&["kv", "put", "a", &at_file], 0, "Success! Data written to: a\n", &["PUT /v1/kv/a file value"]),
            (&["kv", "put", "a", "-"], 0, "Success! Data written to: a\n", &["PUT /v1/kv/a from stdin"]),
            (&["kv", "put", "a", "-cas"], 0, "Success! Data written to: a\n", &["PUT /v1/kv/a -cas"]),
            (&["kv", "put", "-base64", "a", "aGVs\nbG8="], 0, "Success! Data written to: a\n", &["PUT /v1/kv/a hello"]),
            (&["kv", "put", "-flags=9", "f", "x"], 0, "Success! Data written to: f\n", &["PUT /v1/kv/f?flags=9 x"]),
            (&["kv", "put", "-cas", "-modify-index=1", "c", "n"], 1, "", &["PUT /v1/kv/c?cas=1 n"]),
            (&["kv", "put", "-cas", "c", "y"], 0, "Success! Data written to: c\n", &["PUT /v1/kv/c?cas=0 y"]),
            (
                &["kv", "put", "-acquire", "-session=s", "l"],
                0,
                "Success! Lock acquired on: l\n",
                &["PUT /v1/kv/l?acquire=s"],
            ),
            (&["kv", "put", "-release", "-session=s", "l"], 1, "", &["PUT /v1/kv/l?release=s"]),
            (&["kv", "put", "-release", "l"], 1, "", &[]),
            (&["kv", "put", "-release", "-acquire", "-session=s", "l"], 1, "", &[]),
            (&["kv", "put", "-base64", "a", "!"], 1, "", &[]),
            (&["kv", "put", "a", &no_file], 1, "", &[]),
            (&["kv", "put"], 1, "", &[]),
            (&["kv", "put", "a", "b", "c"], 1, "", &[]),
            (&["kv", "delete", "a"], 0, "Success! Deleted key: a\n", &["DELETE /v1/kv/a"]),
            (
                &["kv", "delete", "-recurse", "dir/"],
                0,
                "Success! Deleted keys with prefix: dir/\n",
                &["DELETE /v1/kv/dir/?recurse="],
            ),
            (&["kv", "delete", "-cas", "-modify-index=7", "a"], 1, "", &["DELETE /v1/kv/a?cas=7"]),
            (&["kv", "delete", "-cas", "a"], 1, "", &[]),
            (&["kv", "delete", "-modify-index=7", "a"], 1, "", &[]),
            (&["kv", "delete", "-cas", "-recurse", "-modify-index=7", "a"], 1, "", &[]),
            (&["kv", "delete"], 1, "", &[]),
        ],
    );
}

#[test]
fn kv_export_and_import() {
    let stored = r#"[{"Key":"dir/b","Flags":3,"Value":"dHdv","CreateIndex":1,"ModifyIndex":2,"LockIndex":0},
        {"Key":"dir/\"c","Flags":0,"Value":null}]"#;
    let printed = "[\n\t{\n\t\t\"key\": \"dir/b\",\n\t\t\"flags\": 3,\n\t\t\"value\": \"dHdv\"\n\t},\n\
                   \t{\n\t\t\"key\": \"dir/\\\"c\",\n\t\t\"flags\": 0,\n\t\t\"value\": \"\"\n\t}\n]\n";
    table(
        &[
            ("GET /v1/kv/dir/?recurse=", stored),
            ("PUT /v1/kv/dir/b?flags=3", "true"),
            ("PUT /v1/kv/dir/%22c", "true"),
            ("PUT /v1/kv/p/dir/b?flags=3", "true"),
            ("PUT /v1/kv/p/dir/%22c", "true"),
        ],
        &[
            (&["kv", "export", "dir/"], 0, printed, &["GET /v1/kv/dir/?recurse="]),
            (
                &["kv", "import", printed],
                0,
                "Imported: dir/b\nImported: dir/\"c\n",
                &["PUT /v1/kv/dir/b?flags=3 two", "PUT /v1/kv/dir/%22c"],
            ),
            (
                &["kv", "import", "-prefix=p/", printed],
                0,
                "Imported: p/dir/b\nImported: p/dir/\"c\n",
                &["PUT /v1/kv/p/dir/b?flags=3 two", "PUT /v1/kv/p/dir/%22c"],
            ),
            (&["kv", "import", "-"], 1, "", &[]),
            (&["kv", "import"], 1, "", &[]),
        ],
    );
    let empty = Agent::default().refuse("GET /v1/kv/?recurse=", 404, "");
    assert_eq!(play(&empty, &[], "", &["kv", "export"]).out, "[]\n");
}
