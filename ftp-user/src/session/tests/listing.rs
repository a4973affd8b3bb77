//! LIST and NLST with options and patterns, as other servers for Unix have them.

use super::Server;
use std::time::{Duration, UNIX_EPOCH};

fn names(text: &str) -> Vec<&str> {
    text.lines()
        .map(|line| line.rsplit(' ').next().unwrap())
        .collect()
}

fn scene() -> Server {
    let server = Server::start();
    std::fs::create_dir(server.root().join("dir")).unwrap();
    for (name, size, age) in [
        ("b.txt", 10, 300),
        ("a.txt", 30, 100),
        ("c.log", 20, 200),
        (".hidden", 5, 400),
        ("dir/inner.txt", 1, 1),
    ] {
        let path = server.put(name, &vec![b'x'; size]);
        std::fs::File::open(path)
            .unwrap()
            .set_modified(UNIX_EPOCH + Duration::from_secs(1_000_000_000 - age))
            .unwrap();
    }
    std::fs::File::open(server.root().join("dir"))
        .unwrap()
        .set_modified(UNIX_EPOCH)
        .unwrap();
    server
}

#[test]
fn options_choose_sort_and_reverse() {
    let server = scene();
    let mut client = server.alice();
    let mut listed = |command: &str| client.listing(command);
    let is = |text: &str, expected: &[&str]| assert_eq!(names(text), expected, "{text}");
    is(&listed("LIST"), &["a.txt", "b.txt", "c.log", "dir"]);
    is(
        &listed("NLST -a"),
        &[".hidden", "a.txt", "b.txt", "c.log", "dir"],
    );
    is(&listed("NLST *.*"), &["a.txt", "b.txt", "c.log"]);
    is(&listed("LIST -t"), &["a.txt", "c.log", "b.txt", "dir"]);
    is(&listed("LIST -rt"), &["dir", "b.txt", "c.log", "a.txt"]);
    is(&listed("NLST -r"), &["dir", "c.log", "b.txt", "a.txt"]);
    is(&listed("NLST -S *.*"), &["a.txt", "c.log", "b.txt"]);
    is(&listed("NLST -aS *.*t"), &["a.txt", "b.txt"]);
    assert!(names(&listed("LIST -a")).contains(&".hidden"));
    assert!(!names(&listed("LIST")).contains(&".hidden"));
    assert!(!names(&listed("NLST")).contains(&".hidden"));
    // Long and short, whichever command it is.
    assert!(listed("NLST -l dir").starts_with("-rw"));
    assert_eq!(listed("LIST -1 dir"), "dir/inner.txt\r\n");
    is(&listed("LIST -d dir"), &["dir"]);
    is(&listed("NLST -d"), &["."]);
    // MLSD takes none, and hides nothing (RFC 3659 §7).
    assert!(names(&listed("MLSD")).contains(&".hidden"));
    let mut data = client.pasv();
    client.expect("MLSD -a", 550);
    assert_eq!(std::io::Read::read(&mut data, &mut [0]).unwrap_or(0), 0);
}

#[test]
fn patterns_match_in_the_last_name() {
    let server = scene();
    server.put("odd[1]", b"x");
    let mut client = server.alice();
    let mut sorted = |command: &str| {
        let text = client.listing(command);
        let mut names: Vec<_> = names(&text).into_iter().map(str::to_owned).collect();
        names.sort();
        names
    };
    assert_eq!(sorted("NLST *.txt"), ["a.txt", "b.txt"]);
    assert_eq!(sorted("LIST [ac].*"), ["a.txt", "c.log"]);
    assert_eq!(sorted("NLST dir/*"), ["dir/inner.txt"]);
    assert_eq!(sorted("NLST /dir/i*"), ["/dir/inner.txt"]);
    // Directories themselves, not what is in them.
    assert_eq!(sorted("NLST d*"), ["dir"]);
    assert_eq!(sorted("NLST .h*"), [".hidden"]);
    assert_eq!(sorted("NLST *hidden"), Vec::<String>::new());
    assert_eq!(sorted("NLST -a *hidden"), [".hidden"]);
    // A name that looks like a pattern is a name first.
    assert_eq!(sorted("NLST odd[1]"), ["odd[1]"]);
    assert_eq!(sorted("NLST *.none"), Vec::<String>::new());
    let status = client.expect("STAT *.log", 212);
    assert!(status.contains(" c.log\r\n"), "{status}");
    client.expect("STAT nowhere/*.log", 550);
}

#[test]
fn what_cannot_be_looked_at_spoils_no_listing() {
    use std::fs::{Permissions, set_permissions};
    use std::os::unix::fs::PermissionsExt;
    let Some(server) = Server::start_as_another(|_| {}) else {
        return;
    };
    let closed = server.root().join("closed");
    std::fs::create_dir(&closed).unwrap();
    server.put("closed/a", b"x");
    // To be read, and not searched.
    set_permissions(&closed, Permissions::from_mode(0o744)).unwrap();
    let mut client = server.alice();
    // There is nothing that a line of `ls` could say.
    for command in ["LIST closed", "LIST -t closed"] {
        assert_eq!(client.listing(command), "");
    }
    assert_eq!(client.listing("NLST closed"), "closed/a\r\n");
    assert_eq!(client.listing("MLSD closed"), "type=OS.unix=unknown; a\r\n");
    assert!(!client.expect("STAT closed", 212).contains(" a\r\n"));
    assert!(names(&client.listing("LIST")).contains(&"closed"));
}

/// More than is read in one go.
#[test]
fn a_large_directory_is_sorted_and_searched_whole() {
    let server = Server::start();
    for number in 0..5000 {
        server.put(&format!("f{number:04}"), b"");
    }
    let mut client = server.alice();
    let mut expected: Vec<_> = (0..5000).map(|number| format!("f{number:04}")).collect();
    assert_eq!(names(&client.listing("NLST")), expected);
    assert_eq!(names(&client.listing("LIST")), expected);
    expected.reverse();
    assert_eq!(names(&client.listing("NLST -r")), expected);
    assert_eq!(names(&client.listing("LIST -S")).len(), 5000);
    assert_eq!(client.listing("NLST *none"), "");
    assert_eq!(names(&client.listing("NLST *4242")), ["f4242"]);
    let status = client.expect("STAT .", 212);
    assert!(
        status.lines().nth(1).unwrap().ends_with(" f0000"),
        "{status}"
    );
    let status = client.expect("STAT -r", 212);
    assert_eq!(status.lines().count(), 1002);
    assert!(
        status.lines().nth(1).unwrap().ends_with(" f4999"),
        "{status}"
    );
    assert!(status.contains("Cut short"));
    assert_eq!(client.expect("STAT *none", 212).lines().count(), 2);
}

/// One that would keep a backtracking matcher busy for ever.
#[test]
fn a_hostile_pattern_is_answered_at_once() {
    let server = Server::start();
    server.put(&"a".repeat(250), b"x");
    let mut client = server.alice();
    let pattern = format!("{}b", "*a".repeat(100));
    assert_eq!(client.listing(&format!("NLST {pattern}")), "");
}

/// A tree with something hidden and a link back to its top.
fn forest(change: impl FnOnce(&mut crate::config::Config)) -> Server {
    let server = Server::start_with(change);
    for path in ["a/b/c/file", "a/x", "e/.hidden/inside", "z"] {
        let path = server.root().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, b"x").unwrap();
    }
    std::os::unix::fs::symlink("..", server.root().join("a/up")).unwrap();
    server
}

#[test]
fn trees_are_listed_as_ls_does() {
    let server = forest(|_| {});
    let mut client = server.alice();
    let mut listed = |command: &str| client.listing(command).replace("\r\n", "\n");
    // `ls -1R` of the same tree, by name reversed twice. The link is shown, not followed.
    assert_eq!(
        listed("NLST -Rr"),
        ".:\nz\ne\na\n\n./e:\n\n./a:\nx\nup\nb\n\n./a/b:\nc\n\n./a/b/c:\nfile\n"
    );
    assert_eq!(
        listed("NLST -R"),
        ".:\na\ne\nz\n\n./a:\nb\nup\nx\n\n./a/b:\nc\n\n./a/b/c:\nfile\n\n./e:\n"
    );
    assert_eq!(
        listed("NLST -R a/b"),
        "a/b:\nc\n\na/b/c:\nfile\n",
        "by the name that it was asked for"
    );
    assert!(listed("NLST -Ra e").ends_with("\ne/.hidden:\ninside\n"));
    let long = listed("LIST -R /a/b");
    let lines: Vec<_> = long.lines().collect();
    let [first, c, empty, second, file] = lines[..] else {
        panic!("{long}")
    };
    assert_eq!((first, empty, second), ("/a/b:", "", "/a/b/c:"));
    assert!(c.starts_with("drwx") && c.ends_with(" c"), "{long}");
    assert!(file.starts_with("-rw") && file.ends_with(" file"), "{long}");
    // What a pattern finds, then what is in the directories among it.
    assert_eq!(listed("NLST -R a/b*"), "a/b\n\na/b:\nc\n\na/b/c:\nfile\n");
    assert_eq!(listed("NLST -R z"), "z\n");
    assert_eq!(listed("NLST -dR a"), "a\n");
    let status = client.expect("STAT -R a/b", 212);
    assert!(!status.contains("a/b/c:"), "{status}");
}

#[test]
fn a_tree_ends_at_its_limits_and_says_so() {
    let ends = |change: fn(&mut crate::config::Limits), command: &str| {
        let server = forest(|config| change(&mut config.limits));
        let mut client = server.alice();
        let mut data = client.pasv();
        client.expect(command, 150);
        let mut text = String::new();
        std::io::Read::read_to_string(&mut data, &mut text).unwrap();
        let short = client.reply().1.contains("cut short");
        (text.replace("\r\n", "\n"), short)
    };
    let whole = ".:\nz\ne\na\n\n./e:\n\n./a:\nx\nup\nb\n\n./a/b:\nc\n\n./a/b/c:\nfile\n";
    let is = |change, expected: &str, short| {
        assert_eq!(ends(change, "NLST -rR"), (expected.to_owned(), short));
    };
    is(|limits| limits.recursive_depth = 3, whole, false);
    let at_b = whole.len() - "\n./a/b/c:\nfile\n".len();
    is(|limits| limits.recursive_depth = 2, &whole[..at_b], true);
    // Of e, one that is hidden; then x, up, b, c, file.
    is(|limits| limits.recursive_entries = 6, whole, false);
    let before_file = whole.len() - "file\n".len();
    is(
        |limits| limits.recursive_entries = 5,
        &whole[..before_file],
        true,
    );
    // Never less than without.
    is(
        |limits| limits.recursive_entries = 1,
        ".:\nz\ne\na\n\n./e:\n",
        true,
    );
    for change in [
        (|limits: &mut crate::config::Limits| limits.recursive_depth = 0) as fn(&mut _),
        |limits| limits.recursive_entries = 0,
    ] {
        is(change, "z\ne\na\n", false);
    }
}
