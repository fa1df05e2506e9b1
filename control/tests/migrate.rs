//! Golden migrations: `migrate/<case>/{in.yaml, out.yaml, notes.txt}`; the case begins with the project's name.
//! `UPDATE=1 cargo test -p maglane-control --test migrate` rewrites the outputs; read the difference.

use std::fs;
use std::path::{Path, PathBuf};

use maglane_control::crd::AddressPool;
use maglane_control::migrate::{Migration, cilium, metallb};
use proptest::prelude::*;

fn cases() -> Vec<(String, PathBuf)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/migrate");
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    let mut cases: Vec<_> = entries
        .map(|entry| (entry.file_name().into_string().unwrap(), entry.path()))
        .collect();
    cases.sort();
    cases
}

fn migrate(case: &str, folder: &Path) -> Migration {
    let text = fs::read_to_string(folder.join("in.yaml")).unwrap();
    match case.split_once('-') {
        Some(("metallb", _)) => metallb(&text),
        Some(("cilium", _)) => cilium(&text),
        Some(_) | None => panic!("{case}: name it metallb-... or cilium-..."),
    }
}

fn notes(migration: &Migration) -> String {
    migration
        .problems
        .iter()
        .map(|problem| format!("{}: {problem}\n", problem.severity.name()))
        .collect()
}

#[test]
fn every_migration_comes_out_as_recorded() {
    for (case, folder) in cases() {
        let migration = migrate(&case, &folder);
        for (file, wanted) in [("out.yaml", migration.yaml()), ("notes.txt", notes(&migration))] {
            let path = folder.join(file);
            if std::env::var_os("UPDATE").is_some() {
                fs::write(&path, &wanted).unwrap();
            }
            assert_eq!(
                fs::read_to_string(&path).unwrap_or_default(),
                wanted,
                "{case}/{file}"
            );
        }
    }
}

#[test]
fn what_comes_out_reads_back_as_good_pools() {
    let mut pools = 0;
    for (case, folder) in cases() {
        let yaml = migrate(&case, &folder).yaml();
        for document in yaml.split("---\n").filter(|document| !document.is_empty()) {
            let pool: AddressPool = serde_saphyr::from_str(document).unwrap();
            let read = pool.pool();
            assert!(
                read.value.is_some() && read.problems.is_empty(),
                "{case}: {:?}",
                read.problems
            );
            pools += 1;
        }
    }
    assert!(pools > 8, "only {pools}");
}

#[test]
fn every_note_says_where_and_what_to_do() {
    for (case, folder) in cases() {
        for problem in migrate(&case, &folder).problems {
            assert!(
                !problem.place.is_empty() && !problem.remedy.is_empty(),
                "{case}: {problem}"
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_text_that_was_cut_or_changed_is_read_without_panic(case in any::<prop::sample::Index>(), at in any::<prop::sample::Index>(), put in "[a-z:\\[{\" \n-]{0,4}") {
        let cases = cases();
        let (_, folder) = case.get(&cases);
        let text = fs::read_to_string(folder.join("in.yaml")).unwrap();
        let places: Vec<usize> = text.char_indices().map(|(at, _)| at).collect();
        let at = *at.get(&places);
        for changed in [text[..at].to_owned(), format!("{}{put}{}", &text[..at], &text[at..])] {
            let _ = metallb(&changed).yaml();
            let _ = cilium(&changed).yaml();
        }
    }
}
