//! Configuration files, read into sources for the pure loader.

use std::fs;
use std::path::Path;

use convoke_config::{Diagnostic, Format, Source};

/// Reads a file of `-config-file`, whatever its name; without a known extension a format must be given.
///
/// # Errors
///
/// Says what is wrong with which file.
pub fn file(path: &Path, format: Option<Format>, out: &mut Vec<Source>) -> Result<(), Diagnostic> {
    let name = path.display().to_string();
    let error = |message: String| Diagnostic { file: name.clone(), line: 0, message };
    let format = format.or_else(|| Format::of_file(&name)).ok_or_else(|| {
        error("the format of this file is unknown: name it .hcl or .json, or set -config-format".into())
    })?;
    let bytes = fs::read(path).map_err(|e| error(format!("cannot read the file: {e}")))?;
    let text = String::from_utf8(bytes).map_err(|_| error("the file is not UTF-8 text".into()))?;
    out.push(Source::File { name, format, text });
    Ok(())
}

/// Reads the files of `-config-dir`: lexical order, not recursive, `.hcl` and `.json` only unless a format is given.
///
/// # Errors
///
/// Says what is wrong with which file or folder.
pub fn folder(path: &Path, format: Option<Format>, out: &mut Vec<Source>) -> Result<(), Diagnostic> {
    let name = path.display().to_string();
    let error =
        |e: std::io::Error| Diagnostic { file: name.clone(), line: 0, message: format!("cannot read the folder: {e}") };
    let mut entries = Vec::new();
    for entry in fs::read_dir(path).map_err(error)? {
        entries.push(entry.map_err(error)?.path());
    }
    entries.sort();
    for entry in entries {
        let known = format.is_some() || entry.to_str().is_some_and(|n| Format::of_file(n).is_some());
        // A folder in the folder (often data_dir itself) and other files are passed over.
        if known && entry.is_file() {
            file(&entry, format, out)?;
        }
    }
    Ok(())
}

/// A file or a folder, as `validate` takes them.
///
/// # Errors
///
/// See [`file()`] and [`folder`].
pub fn path(path: &Path, format: Option<Format>, out: &mut Vec<Source>) -> Result<(), Diagnostic> {
    if path.is_dir() { folder(path, format, out) } else { file(path, format, out) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_read_in_order_and_not_below() {
        let dir = std::env::temp_dir().join(format!("convoke-files-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(dir.join("sub.json")).unwrap();
        for (name, text) in [("b.json", "{}"), ("a.hcl", "x = 1"), ("c.txt", "no"), ("sub.json/d.json", "{}")] {
            fs::write(dir.join(name), text).unwrap();
        }
        let mut out = Vec::new();
        path(&dir, None, &mut out).unwrap();
        let names: Vec<_> = out
            .iter()
            .map(|s| match s {
                Source::File { name, .. } => name.rsplit('/').next().unwrap_or("").to_owned(),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(names, ["a.hcl", "b.json"]);
        let e = file(&dir.join("c.txt"), None, &mut out).unwrap_err();
        assert!(e.to_string().contains("-config-format"), "{e}");
        let e = file(&dir.join("none.json"), None, &mut out).unwrap_err();
        assert!(e.to_string().contains("none.json"), "{e}");
        fs::remove_dir_all(&dir).unwrap();
    }
}
