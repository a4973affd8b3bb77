//! A file that was there before an upload: it goes when there is something in its place.

use super::*;

/// Rules with and without a quota, and whether aborted uploads are removed.
fn sites() -> impl Iterator<Item = Site> {
    [(false, false), (false, true), (true, false), (true, true)]
        .into_iter()
        .map(|(counted, remove_aborted)| {
            let rules = match counted {
                true => quota(1000, 10),
                false => Rules::default(),
            };
            let dir = tempfile::tempdir().unwrap();
            fs::write(dir.path().join("a"), "what was there").unwrap();
            let rules = Rules {
                remove_aborted,
                ..rules
            };
            Site::over(dir, rules)
        })
}

fn content(site: &Site) -> String {
    if site.quota.is_some() {
        site.counted();
    }
    fs::read_to_string(site.real("a")).unwrap()
}

#[test]
fn it_stays_until_something_is_stored() {
    for site in sites() {
        let mut upload = site.open("a", Write::Truncate).unwrap();
        store(&mut upload, 0).unwrap();
        drop(upload);
        assert_eq!(content(&site), "what was there");
        let mut upload = site.open("a", Write::Truncate).unwrap();
        store(&mut upload, 3).unwrap();
        store(&mut upload, 2).unwrap();
        assert_eq!(fs::read(site.real("a")).unwrap(), b"xxxxx");
        // Whose it is does not change with what is in it.
        drop(upload);
        assert_eq!(content(&site), "xxxxx");
        site.put("a", Write::Truncate, 1).unwrap();
        assert_eq!(content(&site), "x");
        // An empty file is what the client has sent.
        site.put("a", Write::Truncate, 0).unwrap();
        assert_eq!(content(&site), "");
        site.put("a", Write::Truncate, 2).unwrap();
        assert_eq!(content(&site), "xx");
    }
}

#[test]
fn it_stays_where_there_is_no_room_for_another() {
    let site = Site::new(Rules {
        file_size: NonZeroU64::new(90),
        ..quota(100, 10)
    });
    site.put("a", Write::Truncate, 80).unwrap();
    site.put("b", Write::Truncate, 15).unwrap();
    for (size, errno) in [(91, Errno::FBIG), (86, Errno::DQUOT)] {
        let mut upload = site.open("a", Write::Truncate).unwrap();
        assert_eq!(store(&mut upload, size), Err(errno));
        drop(upload);
        assert_eq!(fs::metadata(site.real("a")).unwrap().len(), 80);
        assert_eq!(site.counted(), (95, 2));
    }
    // What it gives back counts.
    site.put("a", Write::Truncate, 85).unwrap();
    assert_eq!(site.counted(), (100, 2));
    // So it does when it is emptied for less than there is room for without.
    let mut upload = site.open("a", Write::Truncate).unwrap();
    store(&mut upload, 1).unwrap();
    site.put("b", Write::Append, 75).unwrap();
    drop(upload);
    assert_eq!(site.counted(), (91, 2));
}

#[test]
fn it_can_be_emptied_beyond_the_quota() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("a"), [0; 50]).unwrap();
    fs::write(dir.path().join("b"), [0; 200]).unwrap();
    let site = Site::over(dir, quota(100, 10));
    assert_eq!(site.put("a", Write::Truncate, 1), Err(ErrorKind::Quota));
    site.put("a", Write::Truncate, 0).unwrap();
    assert_eq!(site.counted(), (200, 2));
}
