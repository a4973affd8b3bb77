//! New settings while sessions run: who has which.

use super::{Client, Server, data};
use crate::auth::UsersFile;
use std::io::Read;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::ScopedJoinHandle;

#[test]
fn sessions_keep_their_settings_and_new_ones_have_the_new() {
    let server = Server::start();
    server.put("file", b"content");
    let mut before = server.alice();
    before.expect("USER alice", 331);
    before.expect("PASS secret", 230);
    let mut half = server.connect();
    server.reload(|config| {
        config.active.enabled = false;
        config.greeting = "Reloaded.".to_owned();
        config.anonymous = None;
    });
    before.expect("PORT 127,0,0,1,8,8", 200);
    assert_eq!(before.retr("file"), b"content");
    let mut after = Client::over(super::Wire::Clear(data(server.address)));
    assert_eq!(after.reply().1, "220 Reloaded.\r\n");
    after.expect("USER alice", 331);
    after.expect("PASS secret", 230);
    after.expect("PORT 127,0,0,1,8,8", 502);
    // Who had connected, but not logged in, logs in to what there is now.
    half.expect("USER anonymous", 331);
    half.expect("PASS x", 530);
}

#[test]
fn a_removed_user_does_not_get_in_between_user_and_pass() {
    let server = Server::start();
    let mut client = server.connect();
    client.expect("USER alice", 331);
    let users = server.config.users.as_ref().unwrap();
    UsersFile::new(users).remove("alice").unwrap();
    server.reload(|_| {});
    client.expect("PASS secret", 530);
}

#[test]
fn a_lower_limit_counts_those_who_are_in() {
    let server = Server::start();
    let mut first = server.alice();
    server.reload(|config| config.limits.sessions = 1);
    let mut second = String::new();
    data(server.address).read_to_string(&mut second).unwrap();
    assert!(second.starts_with("421 "), "{second}");
    first.expect("NOOP", 200);
    drop(first);
}

/// Reload against login: whichever comes first, a login is by one generation, and none is lost.
#[test]
fn reloads_in_a_loop_do_not_disturb_logins() {
    let server = Server::start();
    server.put("file", b"content");
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reloads = scope.spawn(|| {
            let mut reloads = 0u32;
            while !done.load(Ordering::Relaxed) {
                server.reload(|config| {
                    config.greeting = format!("Generation {reloads}.");
                    // Its accounts and its limits change with it.
                    config.anonymous = config
                        .anonymous
                        .take()
                        .filter(|_| reloads.is_multiple_of(2));
                    config.limits.sessions = 100 + usize::try_from(reloads % 2).unwrap();
                });
                reloads += 1;
            }
            reloads
        });
        let sessions: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(|| {
                    for _ in 0..20 {
                        let mut alice = server.alice();
                        assert_eq!(alice.retr("file"), b"content");
                        let mut guest = server.connect();
                        let text = guest.expect("USER anonymous", 331);
                        assert!(
                            text.contains("password") || text.contains("Password"),
                            "{text}"
                        );
                        guest.send(b"PASS x\r\n");
                        let (code, text) = guest.reply();
                        assert!(matches!(code, 230 | 530), "{text}");
                    }
                })
            })
            .collect();
        let ended = sessions.into_iter().map(ScopedJoinHandle::join);
        let ended: Vec<_> = ended.collect();
        // First of all, or what fails here would hang.
        done.store(true, Ordering::Relaxed);
        for session in ended {
            session.unwrap();
        }
        assert!(reloads.join().unwrap() > 3);
    });
    // And the last one is in force.
    server.reload(|config| config.greeting = "Last.".to_owned());
    let mut last = Client::over(super::Wire::Clear(data(server.address)));
    assert_eq!(last.reply().1, "220 Last.\r\n");
}

#[test]
fn every_session_writes_to_the_newest_transfer_log() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("xferlog");
    let server = Server::start_with(|config| config.log.xferlog = Some(log.clone()));
    server.put("name with blanks", b"content");
    let mut client = server.alice();
    client.retr("name with blanks");
    // As logrotate does it.
    let old = folder.path().join("xferlog.1");
    std::fs::rename(&log, &old).unwrap();
    server.reload(|_| {});
    client.store("STOR b", b"four");
    client.listing("NLST");
    client.expect("DELE b", 250);
    client.expect("DELE b", 550);
    let mut guest = server.connect();
    for id in ["me@example.org\x1b[31m a", ""] {
        guest.expect("USER anonymous", 331);
        guest.expect(&format!("PASS {id}"), 230);
        guest.expect("TYPE I", 200);
        guest.retr("name with blanks");
    }
    let text = |path| std::fs::read_to_string(path).unwrap();
    assert!(text(&old).ends_with(" 127.0.0.1 7 /name_with_blanks b _ o r alice ftp 0 * c\n"));
    let new = text(&log);
    let ends = [
        "4 /b b _ i r alice ftp 0 * c",
        "4 /b b _ d r alice ftp 0 * c",
        "7 /name_with_blanks b _ o a me@example.org_[31m_a ftp 0 * c",
        "7 /name_with_blanks b _ o a anonymous ftp 0 * c",
    ];
    assert_eq!(new.lines().count(), ends.len(), "{new}");
    for (line, end) in new.lines().zip(ends) {
        assert!(line.ends_with(&format!(" 127.0.0.1 {end}")), "{line}");
    }
    assert_eq!(text(&old).lines().count(), 1);
}
