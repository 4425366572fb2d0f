use super::*;

fn place(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("convoke-journal-{name}-{}", std::process::id()));
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    folder.join("journal")
}

fn clean(path: &Path) {
    fs::remove_dir_all(path.parent().unwrap()).unwrap();
}

fn open(path: &Path) -> Journal {
    Journal::open(path).unwrap().0
}

impl Journal {
    fn set(&mut self, path: &str, content: &[u8]) {
        self.put(path.to_owned(), content.to_vec()).unwrap();
    }

    fn commit(&mut self) {
        self.write().unwrap();
        self.sync().unwrap();
    }

    fn shown(&self) -> Vec<(&str, &[u8])> {
        self.live().iter().map(|(k, v)| (k.as_str(), v.as_slice())).collect()
    }
}

/// The records of a file, without the zeros ahead.
fn records(path: &Path) -> Vec<u8> {
    let mut bytes = fs::read(path).unwrap();
    let good = replay(&bytes).unwrap().good;
    bytes.truncate(good);
    bytes
}

#[test]
fn every_cut_leaves_a_prefix_of_the_changes() {
    let path = place("cut");
    let mut j = open(&path);
    j.set("services/a", b"1");
    j.commit();
    j.set("services/b", b"22");
    j.commit();
    j.set("services/a", b"333");
    j.commit();
    j.remove("services/b".into()).unwrap();
    j.remove("services/never".into()).unwrap();
    j.commit();
    let whole = records(&path);
    let states: [&[(&str, &[u8])]; 5] = [
        &[],
        &[("services/a", b"1")],
        &[("services/a", b"1"), ("services/b", b"22")],
        &[("services/a", b"333"), ("services/b", b"22")],
        &[("services/a", b"333")],
    ];
    // The end of the file, or zeros where the write did not come to.
    for (cut, zeros) in (0..=whole.len()).flat_map(|cut| [(cut, 0), (cut, 5000)]) {
        let mut bytes = whole[..cut].to_vec();
        bytes.resize(cut + zeros, 0);
        fs::write(&path, &bytes).unwrap();
        let mut j = open(&path);
        assert!(states.contains(&j.shown().as_slice()), "cut at {cut}: {:?}", j.shown());
        // What follows a cut is readable.
        j.set("checks/c", b"c");
        j.commit();
        drop(j);
        assert!(open(&path).live().contains_key("checks/c"), "cut at {cut}");
    }
    clean(&path);
}

#[test]
fn zeros_ahead_are_no_records_and_are_kept() {
    let path = place("ahead");
    let mut j = open(&path);
    j.set("a", b"1");
    j.commit();
    assert_eq!(fs::metadata(&path).unwrap().len(), AHEAD);
    drop(j);
    let mut j = open(&path);
    assert_eq!(j.shown(), [("a", &b"1"[..])]);
    j.set("b", b"2");
    j.commit();
    assert_eq!(fs::metadata(&path).unwrap().len(), AHEAD, "the second write needs no new length");
    // One that is longer than what is ahead.
    let long = vec![b'x'; AHEAD as usize + 1];
    j.set("c", &long);
    j.commit();
    assert_eq!(fs::metadata(&path).unwrap().len(), 2 * AHEAD);
    drop(j);
    assert_eq!(open(&path).shown(), [("a", &b"1"[..]), ("b", b"2"), ("c", &long)]);
    clean(&path);
}

#[test]
fn rot_before_a_durable_batch_is_reported_and_at_the_end_cut_off() {
    let path = place("rot");
    let mut j = open(&path);
    j.set("a", b"first");
    j.commit();
    j.set("b", b"second");
    j.commit();
    drop(j);
    let whole = records(&path);
    let first = whole.windows(5).position(|w| w == b"first").unwrap();
    let mut rotten = whole.clone();
    rotten[first] ^= 1;
    fs::write(&path, &rotten).unwrap();
    assert!(Journal::open(&path).unwrap_err().to_string().contains("damaged at byte"));
    let mut torn = whole.clone();
    *torn.last_mut().unwrap() ^= 1;
    fs::write(&path, &torn).unwrap();
    assert_eq!(open(&path).shown(), [("a", &b"first"[..])]);
    clean(&path);
}

#[test]
fn pages_of_a_batch_that_was_never_durable_may_be_missing_anywhere() {
    let path = place("pages");
    let mut j = open(&path);
    j.set("kept", b"1");
    j.commit();
    let before = records(&path).len();
    for n in 0..9 {
        j.set(&format!("lost/{n}"), &[b'v'; 1000]);
    }
    j.write().unwrap();
    drop(j);
    let whole = fs::read(&path).unwrap();
    let end = records(&path).len();
    for from in (before..end).step_by(256) {
        let mut torn = whole.clone();
        torn[from..(from + 512).min(end)].fill(0);
        fs::write(&path, &torn).unwrap();
        let j = open(&path);
        assert_eq!(j.live()["kept"], b"1", "{from}");
        assert!(j.live().len() < 10, "{from}");
        drop(j);
        assert!(records(&path).len() < end, "{from}: what is not read back does not come back later");
    }
    clean(&path);
}

#[test]
fn a_mark_inside_a_value_proves_nothing() {
    let path = place("forged");
    let mut j = open(&path);
    let mut forged = Vec::new();
    encode(&mut forged, MARK, "", &7_u64.to_le_bytes()).unwrap();
    j.set("a", &[&b"x"[..], &forged].concat());
    j.commit();
    drop(j);
    let mut torn = records(&path);
    let at = torn.len() - forged.len() - 1;
    torn[at] ^= 1;
    fs::write(&path, &torn).unwrap();
    assert!(open(&path).live().is_empty());
    clean(&path);
}

#[test]
fn a_file_without_marks_is_read_and_its_rot_is_told() {
    let path = place("unmarked");
    let mut bytes = Vec::new();
    encode(&mut bytes, PUT, "a", b"1").unwrap();
    let second = bytes.len();
    encode(&mut bytes, PUT, "b", b"2").unwrap();
    fs::write(&path, &bytes).unwrap();
    assert_eq!(open(&path).live().len(), 2);
    bytes[second - 1] ^= 1;
    fs::write(&path, &bytes).unwrap();
    assert!(Journal::open(&path).unwrap_err().to_string().contains("damaged at byte 0"));
    clean(&path);
}

#[test]
fn a_batch_is_done_in_order() {
    let path = place("order");
    let mut j = open(&path);
    j.set("a", b"1");
    j.remove("a".into()).unwrap();
    j.set("b", b"1");
    j.set("b", b"2");
    assert!(j.live().is_empty(), "not written yet");
    assert!(j.put("p".repeat(70_000), Vec::new()).is_err());
    j.commit();
    assert_eq!(j.shown(), [("b", &b"2"[..])]);
    let live_bytes = j.live_bytes;
    drop(j);
    let j = open(&path);
    assert_eq!(j.shown(), [("b", &b"2"[..])]);
    assert_eq!(j.live_bytes, live_bytes);
    clean(&path);
}

#[test]
fn history_is_dropped_when_it_outweighs_the_present() {
    let path = place("rewrite");
    let mut j = open(&path);
    let big = vec![7; 100_000];
    for i in 0..30_u8 {
        j.set(if i % 3 == 0 { "x" } else { "y" }, &big);
        j.log(&[i]).unwrap();
        j.commit();
        if j.is_mostly_history() {
            j.tidy().unwrap();
        }
    }
    assert!(fs::metadata(&path).unwrap().len() < 1_500_000);
    j.set("z", b"after");
    j.commit();
    drop(j);
    let (mut j, replayed) = Journal::open(&path).unwrap();
    assert_eq!(j.live().len(), 3);
    assert_eq!(j.live()["z"], b"after");
    assert_eq!(replayed.log, (0..30).collect::<Vec<u8>>(), "tidying keeps the log whole");
    j.restart_log(b"new").unwrap();
    let mut rotten = records(&path);
    j.log(b"er").unwrap();
    j.commit();
    drop(j);
    let (j, replayed) = Journal::open(&path).unwrap();
    assert_eq!((j.live().len(), replayed.log.as_slice()), (3, &b"newer"[..]));
    rotten[20] ^= 1;
    fs::write(&path, &rotten).unwrap();
    assert!(Journal::open(&path).is_err(), "a rewritten file was durable as a whole");
    clean(&path);
}
