//! What is left of uploads that broke off replaces nothing.

use super::*;

fn site(left: &[String]) -> Site {
    let dir = tempfile::tempdir().unwrap();
    for name in left {
        fs::write(dir.path().join(name), name).unwrap();
    }
    let rules = Rules {
        atomic: true,
        ..quota(10_000, 100)
    };
    Site::over(dir, rules)
}

fn break_off(site: &Site) {
    let mut upload = site.open("a", Write::Truncate).unwrap();
    store(&mut upload, 5).unwrap();
    drop(upload);
}

#[test]
fn it_has_a_name_that_nothing_had() {
    let site = site(&["a.part".to_owned()]);
    break_off(&site);
    break_off(&site);
    assert_eq!(site.names(), ["a.2.part", "a.3.part", "a.part"]);
    assert_eq!(fs::read(site.real("a.part")).unwrap(), b"a.part");
    assert_eq!(fs::read(site.real("a.2.part")).unwrap(), b"xxxxx");
    assert_eq!(site.counted(), (16, 3));
}

#[test]
fn what_a_crash_leaves_is_listed_and_can_be_removed() {
    let site = site(&[]);
    let mut upload = site.open("a", Write::Truncate).unwrap();
    store(&mut upload, 5).unwrap();
    assert_eq!(site.names().len(), 1);
    assert_eq!(site.listed(), 0);
    // The lock goes with the descriptor, as at the end of its process.
    let temporary = site.names().remove(0);
    drop(upload);
    fs::rename(site.real("a.part"), site.real(&temporary)).unwrap();
    assert_eq!(site.listed(), 1);
    let done = site.act(|vfs| vfs.remove_file(&at(&temporary)));
    assert_eq!((done, site.names()), (Ok(()), vec![]));

    // Nor is anything hidden by its name alone.
    let upload = site.open(&temporary, Write::Truncate).unwrap();
    assert_eq!(site.listed(), 0);
    upload.complete().unwrap();
    assert_eq!(site.listed(), 1);
    fs::create_dir(site.real(".pinhole-0123456789abcdef.part")).unwrap();
    assert_eq!(site.listed(), 2);
}

#[test]
fn where_all_names_are_taken_it_is_removed() {
    let mut names: Vec<_> = (2..10).map(|number| format!("a.{number}.part")).collect();
    names.push("a.part".to_owned());
    let site = site(&names);
    break_off(&site);
    assert_eq!(site.names(), names);
    for name in &names {
        assert_eq!(fs::read(site.real(name)).unwrap(), name.as_bytes());
    }
    assert_eq!(site.counted().1, 9);
}
