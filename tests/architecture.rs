//! Imports run one way, by module paths: see `ARCHITECTURE.md`.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// The rooms, from the top down. Those of one floor do not know each other.
const FLOORS: &[&[&str]] = &[
    &["openapi", "testing"],
    &["layer"],
    &["keys", "response", "status"],
    &["ask", "dispatch"],
    &["outbox", "attempt", "verify"],
    &["delivery"],
    &["admission"],
    &["event"],
    &["endpoint"],
    &["id"],
    &["error", "key_file", "sync"],
];

fn floor(room: &str) -> usize {
    let floor = FLOORS.iter().position(|rooms| rooms.contains(&room));
    floor.unwrap_or_else(|| panic!("{room} is no room of the house"))
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let files = paths.flat_map(|path| match path.is_dir() {
        true => files(&path),
        false => vec![path],
    });
    files
        .filter(|path| path.extension().is_some_and(|end| end == "rs"))
        .collect()
}

/// The rooms that a text names, as `crate::room`, be it by itself or in a list.
fn rooms_of(code: &str) -> BTreeSet<String> {
    let mut rooms = BTreeSet::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        let list = match rest.strip_prefix('{') {
            Some(list) => list,
            None => rest
                .split(|c: char| !c.is_alphanumeric() && c != '_')
                .next()
                .unwrap(),
        };
        let mut depth = 0;
        let mut name = String::new();
        for c in list.chars() {
            match c {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' | ';' if depth == 0 => {
                    rooms.insert(std::mem::take(&mut name));
                    if c == ';' {
                        break;
                    }
                }
                _ if depth == 0 => name.push(c),
                _ => {}
            }
        }
        rooms.insert(name);
    }
    let first = |name: &String| name.trim().split("::").next().unwrap().to_owned();
    let rooms = rooms.iter().map(first);
    rooms.filter(|room| !room.is_empty()).collect()
}

/// Without comments, and without the tests of a file.
fn code_of(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
    let lines = text.lines().map(str::trim_start);
    lines
        .filter(|line| !line.starts_with("//"))
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
fn imports_run_one_way() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut wrong = Vec::new();
    let mut arrows = 0;
    for path in files(&src) {
        let inside = path.strip_prefix(&src).unwrap();
        let room = inside.iter().next().unwrap().to_str().unwrap();
        let room = room.trim_end_matches(".rs");
        let name = inside.file_name().unwrap().to_str().unwrap();
        if room == "lib" || name.ends_with("tests.rs") || name == "sample.rs" {
            continue;
        }
        for other in rooms_of(&code_of(&path)) {
            if other == room {
                continue;
            }
            arrows += 1;
            let is_a_name = other.starts_with(char::is_uppercase);
            if is_a_name || floor(&other) <= floor(room) {
                wrong.push(format!("{} imports {other}", inside.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "these run back up:\n{}", wrong.join("\n"));
    assert!(arrows > 50, "the imports are not seen");
}

#[test]
fn each_room_says_what_lives_there() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for rooms in FLOORS {
        for room in *rooms {
            let file = [
                src.join(room).join("mod.rs"),
                src.join(format!("{room}.rs")),
            ];
            let file = file.iter().find(|file| file.exists()).unwrap();
            let text = fs::read_to_string(file).unwrap();
            assert!(text.starts_with("//! "), "{}", file.display());
        }
    }
}
