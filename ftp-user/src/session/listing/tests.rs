//! Lines as clients get them.

use std::time::UNIX_EPOCH;

use proptest::prelude::*;

use super::*;

/// 2024-02-29 12:34:56 UTC.
const LEAP_DAY: u64 = 1_709_210_096;
const DAY: u64 = 24 * 60 * 60;

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

fn entry(name: &[u8]) -> Entry {
    Entry {
        name: name.to_vec(),
        kind: Kind::File,
        target: Box::default(),
        size: 1234,
        modified: at(LEAP_DAY),
        mode: 0o644,
        uid: 1000,
        gid: 100,
        nlink: 1,
        dev: 0x801,
        ino: 0xbeef,
    }
}

fn list(entry: &Entry, now: SystemTime) -> String {
    text(|out| list_line(entry, now, out))
}

/// What is appended, as text.
fn text(append: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut out = Vec::new();
    append(&mut out);
    String::from_utf8(out).unwrap()
}

fn facts(entry: &Entry, facts: &Facts, rights: &Rights) -> String {
    text(|out| facts_line(entry, facts, rights, out))
}

#[test]
fn lists_as_ls_does() {
    assert_eq!(
        list(&entry(b"read me.txt"), at(LEAP_DAY)),
        "-rw-r--r--    1 1000     100              1234 Feb 29 12:34 read me.txt\r\n"
    );
    let huge = Entry {
        kind: Kind::Dir,
        size: u64::MAX,
        mode: 0o1777,
        nlink: u64::MAX,
        uid: u32::MAX,
        gid: u32::MAX,
        ..entry(b"d")
    };
    assert_eq!(
        list(&huge, at(LEAP_DAY)),
        "drwxrwxrwt 18446744073709551615 4294967295 4294967295 18446744073709551615 Feb 29 12:34 d\r\n"
    );
}

#[test]
fn modes_as_ls_shows_them() {
    let cases = [
        (0o000, "---------"),
        (0o777, "rwxrwxrwx"),
        (0o644, "rw-r--r--"),
        (0o4755, "rwsr-xr-x"),
        (0o4655, "rwSr-xr-x"),
        (0o2755, "rwxr-sr-x"),
        (0o2745, "rwxr-Sr-x"),
        (0o1755, "rwxr-xr-t"),
        (0o1754, "rwxr-xr-T"),
        (0o7000, "--S--S--T"),
    ];
    for (mode, shown) in cases {
        let entry = Entry {
            mode,
            ..entry(b"a")
        };
        let line = text(|out| super::mode(&entry, out));
        assert_eq!(line, format!("-{shown}"), "{mode:o}");
    }
    for (kind, letter) in [(Kind::Dir, 'd'), (Kind::Symlink, 'l'), (Kind::Other, 'p')] {
        let entry = Entry {
            kind,
            ..entry(b"a")
        };
        assert!(text(|out| mode(&entry, out)).starts_with(letter));
    }
}

#[test]
fn old_and_future_times_show_the_year() {
    let shown = |modified: u64, now: u64| text(|out| when(at(modified), at(now), out));
    let half_year = SIX_MONTHS.as_secs();
    assert_eq!(shown(LEAP_DAY, LEAP_DAY), "Feb 29 12:34");
    assert_eq!(shown(LEAP_DAY, LEAP_DAY + half_year - 1), "Feb 29 12:34");
    assert_eq!(shown(LEAP_DAY, LEAP_DAY + half_year), "Feb 29  2024");
    assert_eq!(shown(LEAP_DAY, LEAP_DAY - 1), "Feb 29  2024");
    assert_eq!(shown(LEAP_DAY + DAY, LEAP_DAY + DAY), "Mar  1 12:34");
    assert_eq!(shown(0, LEAP_DAY), "Jan  1  1970");
    let months: Vec<String> = (0..12)
        .map(|month| shown(month * 31 * DAY, LEAP_DAY)[..3].to_owned())
        .collect();
    assert_eq!(
        months.join(" "),
        "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec"
    );
    let before = UNIX_EPOCH - Duration::from_secs(1);
    let line = text(|out| when(before, at(LEAP_DAY), out));
    assert_eq!(line, "Dec 31  1969");
}

#[test]
fn names_are_bytes_but_cannot_forge_lines() {
    let line = |name: &[u8]| {
        let mut out = Vec::new();
        name_line(&entry(name), &mut out);
        out
    };
    assert_eq!(line(b"\xff\xfe \x1b"), b"\xff\xfe \x1b\r\n");
    assert_eq!(line("Grüße".as_bytes()), "Grüße\r\n".as_bytes());
    assert_eq!(line(b" lead; trail "), b" lead; trail \r\n");
    assert_eq!(line(b"a\r\n-rw b\rc\nd\0"), b"a??-rw b?c?d?\r\n");
}

#[test]
fn facts_of_files_directories_and_others() {
    let all = Facts::default();
    assert_eq!(
        facts(&entry(b"a b"), &all, &Rights::ALL),
        "type=file;size=1234;modify=20240229123456;perm=adfrw;unique=801gbeef;UNIX.mode=0644;\
         UNIX.owner=1000;UNIX.group=100; a b\r\n"
    );
    let dir = Entry {
        kind: Kind::Dir,
        mode: 0o2755,
        ..entry(b"d")
    };
    assert_eq!(
        facts(&dir, &all, &Rights::ALL),
        "type=dir;modify=20240229123456;perm=cdeflmp;unique=801gbeef;UNIX.mode=2755;\
         UNIX.owner=1000;UNIX.group=100; d\r\n"
    );
    assert!(facts(&entry(b"a"), &all, &Rights::READ_ONLY).contains(";perm=r;"));
    assert!(facts(&dir, &all, &Rights::READ_ONLY).contains(";perm=el;"));
    assert!(facts(&dir, &all, &Rights::default()).contains(";perm=e;"));
    let append = Rights {
        append: true,
        ..Rights::default()
    };
    assert!(facts(&dir, &all, &append).contains(";perm=ce;"));
    assert!(facts(&entry(b"a"), &all, &append).contains(";perm=a;"));
    let unknown = Entry {
        kind: Kind::Unknown,
        ..entry(b"u")
    };
    assert_eq!(
        facts(&unknown, &all, &Rights::ALL),
        "type=OS.unix=unknown; u\r\n"
    );
    assert_eq!(
        facts(&unknown, &Facts::parse(b"size"), &Rights::ALL),
        " u\r\n"
    );
}

#[test]
fn links_say_where_they_lead() {
    let link = |target: &[u8]| Entry {
        kind: Kind::Symlink,
        target: target.into(),
        size: 3,
        mode: 0o777,
        ..entry(b"l")
    };
    let line = |target| list(&link(target), at(LEAP_DAY));
    assert_eq!(
        line(b"../a b"),
        "lrwxrwxrwx    1 1000     100                 3 Feb 29 12:34 l -> ../a b\r\n"
    );
    assert!(line(b"a\r\nb").ends_with(" l -> a??b\r\n"));
    assert!(line(b"").ends_with(" l\r\n"));
    let facts = |target| facts(&link(target), &Facts::default(), &Rights::ALL);
    assert_eq!(
        facts(b"../a:b"),
        "type=OS.unix=slink:../a:b;modify=20240229123456;perm=df;unique=801gbeef;UNIX.mode=0777;\
         UNIX.owner=1000;UNIX.group=100; l\r\n"
    );
    // What would end the fact, or the facts, or be no text in them.
    for target in [&b"a;type=dir"[..], b"a b", b"a\nb", b"a\x80", b"a=b"] {
        assert!(facts(target).starts_with("type=OS.unix=slink:;modify="));
    }
}

#[test]
fn facts_are_chosen_by_opts_mlst() {
    let all = Facts::default();
    assert_eq!(
        all.feature(),
        "type*;size*;modify*;perm*;unique*;UNIX.mode*;UNIX.owner*;UNIX.group*;"
    );
    assert_eq!(Facts::parse(all.chosen().as_bytes()), all);

    let some = Facts::parse(b"Modify;nonsense; SIZE;unix.MODE");
    assert_eq!(some.chosen(), "size;modify;UNIX.mode;");
    assert_eq!(
        some.feature(),
        "type;size*;modify*;perm;unique;UNIX.mode*;UNIX.owner;UNIX.group;"
    );
    assert_eq!(
        facts(&entry(b"a"), &some, &Rights::ALL),
        "size=1234;modify=20240229123456;UNIX.mode=0644; a\r\n"
    );

    let none = Facts::parse(b"");
    assert_eq!(none.chosen(), "");
    assert_eq!(facts(&entry(b"a"), &none, &Rights::ALL), " a\r\n");
}

proptest! {
    #[test]
    fn no_names_make_choosing_panic(text in proptest::collection::vec(any::<u8>(), 0..24)) {
        let _ = Facts::parse(&text);
    }

    #[test]
    fn each_entry_is_one_line_whatever_its_name(
        name in proptest::collection::vec(any::<u8>(), 1..64),
        mode in 0u32..0o10000,
        seconds in any::<u32>(),
        now in any::<u32>(),
    ) {
        let mut entry = entry(&name);
        entry.mode = mode;
        entry.modified = at(seconds.into());
        entry.target = name.as_slice().into();
        let mut out = Vec::new();
        list_line(&entry, at(now.into()), &mut out);
        name_line(&entry, &mut out);
        facts_line(&entry, &Facts::default(), &Rights::ALL, &mut out);
        let ends = out.windows(2).filter(|pair| pair == b"\r\n").count();
        prop_assert_eq!(ends, 3);
        let breaking = out.iter().filter(|byte| matches!(byte, b'\r' | b'\n' | 0)).count();
        prop_assert_eq!(breaking, 6);
    }
}
