//! Directories, names, and what is told about files.

use super::{Server, exists};
use std::os::unix::ffi::OsStrExt;

#[test]
fn directories_are_made_entered_and_removed() {
    let server = Server::start();
    let mut client = server.alice();
    assert!(client.expect("PWD", 257).starts_with("257 \"/\" "));
    assert!(
        client
            .expect("MKD a \"b\"", 257)
            .starts_with("257 \"/a \"\"b\"\"\" ")
    );
    assert!(exists(&server.root().join("a \"b\"")));
    client.expect("MKD a \"b\"", 550);
    client.expect("CWD a \"b\"", 250);
    client.expect("XMKD deep", 257);
    client.expect("CWD deep", 250);
    assert!(client.expect("XPWD", 257).contains("\"/a \"\"b\"\"/deep\""));
    client.expect("XCUP", 250);
    client.expect("RMD /a \"b\"", 550);
    client.expect("XRMD deep", 250);
    client.expect("CDUP", 250);
    client.expect("CDUP", 250);
    client.expect("CWD ../../..", 250);
    assert!(client.expect("PWD", 257).starts_with("257 \"/\" "));
    client.expect("CWD nowhere", 550);
    server.put("file", b"x");
    client.expect("CWD file", 550);
}

#[test]
fn names_are_bytes() {
    let server = Server::start();
    let mut client = server.alice();
    // Latin-1, 0xFF doubled as Telnet has it, and a CR padded as RFC 2640 has it.
    client.send(b"MKD caf\xe9\xff\xff\r\0x\r\n");
    client.expect_reply(257);
    let made = server
        .root()
        .join(std::ffi::OsStr::from_bytes(b"caf\xe9\xff\rx"));
    assert!(exists(&made));
    client.send(b"CWD caf\xe9\xff\xff\r\0x\r\n");
    client.expect_reply(250);
    client.send(b"PWD\r\n");
    let mut reply = [0; 64];
    let read = std::io::Read::read(&mut client.control, &mut reply).unwrap();
    assert!(
        reply[..read].starts_with(b"257 \"/caf\xe9\xff\xff\r\0x\" "),
        "{:?}",
        &reply[..read]
    );
    // An LF is a NUL in names, and nowhere else.
    let name = std::ffi::OsStr::from_bytes(b"l\n\r\nf");
    std::fs::write(server.root().join(name), "x").unwrap();
    std::os::unix::fs::symlink(name, server.root().join("link")).unwrap();
    for (command, code, said) in [
        ("MLST /l\0\r\0\0f", 250, " /l\0\r\0\0f\r\n"),
        ("STAT /l\0\r\0\0f", 213, "l\0\r\0\0f\r\n"),
        ("STAT /link", 213, "link -> l\0\r\0\0f\r\n"),
        ("MLST /link", 250, "type=OS.unix=slink:;"),
        ("HASH /l\0\r\0\0f", 213, " /l\0\r\0\0f\r\n"),
        ("USER ali\0ce", 501, ""),
        ("NOOP \0", 501, ""),
        ("TYPE I\0", 501, ""),
        ("NO\0OP", 500, ""),
        ("DELE /l\0\r\0\0f", 250, ""),
    ] {
        let reply = client.expect(command, code);
        assert!(reply.contains(said), "{command:?}: {reply:?}");
    }
    assert!(!exists(&server.root().join(name)));
    client.expect("MKD d\0e", 257);
    std::fs::write(made.join("d\ne/f"), "").unwrap();
    assert_eq!(client.listing("NLST d\0e/*"), "d?e/f\r\n");
}

#[test]
fn renaming_takes_two_commands_in_a_row() {
    let server = Server::start();
    server.put("old", b"x");
    let mut client = server.alice();
    client.expect("RNTO new", 503);
    client.expect("RNFR nothing", 550);
    client.expect("RNFR old", 350);
    client.expect("PWD", 257);
    client.expect("RNTO new", 503);
    client.expect("RNFR old", 350);
    client.expect("RNTO new", 250);
    assert!(!exists(&server.root().join("old")));
    assert_eq!(server.get("new"), b"x");
    client.expect("DELE new", 250);
    client.expect("DELE new", 550);
}

#[test]
fn size_and_time() {
    let server = Server::start();
    let path = server.put("a", b"12345");
    let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000);
    std::fs::File::open(path)
        .unwrap()
        .set_modified(time)
        .unwrap();
    let mut client = server.alice();
    assert_eq!(client.expect("SIZE a", 213), "213 5\r\n");
    assert!(
        client
            .expect("MDTM a", 213)
            .starts_with("213 20010909014640")
    );
    client.expect("SIZE /", 550);
    client.expect("MDTM /", 550);
    client.expect("TYPE A", 200);
    client.expect("SIZE a", 550);
}

#[test]
fn a_link_out_of_the_root_leads_nowhere() {
    let server = Server::start();
    std::fs::write(server.files.path().join("secret"), b"secret").unwrap();
    std::os::unix::fs::symlink("../secret", server.root().join("out")).unwrap();
    std::os::unix::fs::symlink("/etc", server.root().join("etc")).unwrap();
    let mut client = server.alice();
    let port = client.pasv_port();
    for command in [
        "RETR out",
        "SIZE out",
        "CWD etc",
        "RETR etc/passwd",
        "STOR out",
        "APPE etc/x",
    ] {
        client.expect(command, 550);
    }
    client.expect("CWD ..", 250);
    client.expect("RETR ../secret", 550);
    drop(super::data((client.server(), port).into()));
    assert_eq!(
        std::fs::read(server.files.path().join("secret")).unwrap(),
        b"secret"
    );
}

#[test]
fn listings() {
    let server = Server::start();
    server.put("one", b"1");
    server.put("two", b"22");
    std::fs::create_dir(server.root().join("dir")).unwrap();
    server.put("dir/inner", b"333");
    let mut client = server.alice();
    let lines = |text: String| {
        assert!(text.is_empty() || text.ends_with("\r\n"));
        let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    assert_eq!(lines(client.listing("NLST")), ["dir", "one", "two"]);
    assert_eq!(lines(client.listing("NLST dir")), ["dir/inner"]);
    assert_eq!(lines(client.listing("NLST one")), ["one"]);
    assert_eq!(lines(client.listing("LIST -la")).len(), 3);
    let list = lines(client.listing("LIST dir"));
    assert!(list.len() == 1 && list[0].ends_with(" inner"), "{list:?}");
    let mlsd = lines(client.listing("MLSD dir"));
    assert!(
        mlsd.iter().any(|line| line.ends_with("; inner")),
        "{mlsd:?}"
    );
    let port = client.pasv_port();
    client.expect("MLSD one", 501);
    client.expect("LIST nothing", 550);
    drop(super::data((client.server(), port).into()));
    let mlst = client.expect("MLST dir/inner", 250);
    assert!(mlst.lines().nth(1).unwrap().starts_with(' '), "{mlst}");
    assert!(mlst.contains("; /dir/inner\r\n"), "{mlst}");
    let stat = client.expect("STAT dir", 212);
    assert!(stat.contains(" inner\r\n"), "{stat}");
    client.expect("STAT one", 213);
    client.expect("STAT nothing", 550);
}

#[test]
fn a_large_directory_comes_whole() {
    let server = Server::start();
    for n in 0..3000 {
        server.put(&format!("a-rather-long-name-for-a-file-{n:05}"), b"");
    }
    let mut client = server.alice();
    assert_eq!(client.listing("NLST").lines().count(), 3000);
    assert!(
        client
            .expect("STAT /", 212)
            .ends_with("212 Cut short; LIST shows all.\r\n")
    );
}

/// A client that empties what is listed as a directory must not come into one through a link.
#[test]
fn links_are_listed_as_links_and_followed_by_name() {
    let server = Server::start();
    server.put("file", b"12345");
    std::fs::create_dir(server.root().join("dir")).unwrap();
    server.put("dir/inner", b"1");
    for (target, name) in [
        ("dir", "to-dir"),
        ("file", "to-file"),
        ("../nothing", "out"),
        ("nothing", "dangling"),
    ] {
        std::os::unix::fs::symlink(target, server.root().join(name)).unwrap();
    }
    let mut client = server.alice();
    let mut listed = |command: &str| client.listing(command);
    let long = listed("LIST");
    for line in [
        "to-dir -> dir",
        "to-file -> file",
        "out -> ../nothing",
        "dangling -> nothing",
    ] {
        let link = |found: &str| found.starts_with("lrwx") && found.ends_with(&format!(" {line}"));
        assert!(long.lines().any(link), "{long}");
    }
    let facts = listed("MLSD");
    let line = facts.lines().find(|line| line.ends_with(" to-dir"));
    let line = line.unwrap();
    assert!(line.starts_with("type=OS.unix=slink:dir;"), "{line}");
    assert!(line.contains(";perm=df;"), "{line}");
    // As `ls` has it, but that a directory needs no slash behind it: other servers list it, too.
    for command in ["NLST to-dir", "NLST to-dir/"] {
        assert!(listed(command).ends_with("/inner\r\n"), "{command}");
    }
    assert!(listed("LIST -d to-dir").ends_with(" to-dir -> dir\r\n"));
    assert!(listed("LIST -d to-dir/").starts_with('d'));
    assert!(listed("LIST dangling").ends_with(" dangling -> nothing\r\n"));
    assert!(listed("MLSD to-dir").ends_with(" inner\r\n"));
    let status = client.expect("STAT out", 213);
    assert!(status.contains(" out -> ../nothing\r\n"), "{status}");

    for name in ["to-dir", "dangling", "out"] {
        let facts = client.expect(&format!("MLST {name}"), 250);
        assert!(facts.contains(" type=OS.unix=slink:"), "{facts}");
        client.expect(&format!("RNFR {name}"), 350);
        client.expect(&format!("RNTO {name}-2"), 250);
        client.expect(&format!("RMD {name}-2"), 550);
    }
    client.expect("SIZE to-file", 213);
    client.expect("MDTM to-file", 213);
    client.expect("SIZE dangling-2", 550);
    client.expect("CWD to-dir-2", 250);
    // Where it is, is a directory, by whatever name.
    for command in ["MLST", "MLST .", "MLST /to-dir-2/"] {
        let facts = client.expect(command, 250);
        assert!(facts.contains(" type=dir;"), "{command}: {facts}");
    }
    assert!(client.listing("LIST -d").starts_with('d'));
    for name in ["to-dir-2", "dangling-2", "out-2"] {
        client.expect(&format!("DELE /{name}"), 250);
    }
    assert_eq!(server.get("dir/inner"), b"1");
}
