//! Transfers beyond the plain: broken off and gone on with, and what listings say.

use std::{
    collections::BTreeSet,
    fs,
    io::{Read, Write},
    net::TcpStream,
};

use anyhow::{Context, Result, bail, ensure};
use ftp_tests::{
    control::Control,
    files,
    lab::Family,
    need_root, process,
    site::{self, PASSWORD, Site, USER},
    wait,
};

/// More than fits into the buffers of a connection that nobody reads.
const LEN: usize = 20_000_000;

type Abort = fn(&mut Control) -> Result<()>;

/// How clients send an ABOR.
const ABORTS: [(&str, Abort); 3] = [
    ("plainly", |session| session.send(b"ABOR\r\n")),
    // RFC 959, section 4.1.3: Telnet IP and Synch, the data mark urgent.
    ("by Telnet's Synch", |session| {
        session.send(b"\xff\xf4")?;
        session.send_urgent(b"\xff\xf2")?;
        session.send(b"ABOR\r\n")
    }),
    // Python's ftplib: the whole line, of which the kernel makes the last byte urgent.
    ("as urgent data", |session| session.send_urgent(b"ABOR\r\n")),
];

/// Reads until the end, or the reset, of a connection; says how many bytes came.
fn drain(mut data: TcpStream) -> usize {
    let mut rest = Vec::new();
    // A reset is an end, too: what came before it counts.
    let _ = data.read_to_end(&mut rest);
    rest.len()
}

#[test]
fn abor_ends_a_download() -> Result<()> {
    need_root!();
    let site = Site::new()?;
    let content = site.put("file", LEN)?;
    for family in Family::BOTH {
        let mut session = site.anonymous(family, 0)?;
        for (how, abort) in ABORTS {
            let hole = session.passive()?;
            session.send(b"RETR file\r\n")?;
            let mut data = session.data(hole)?;
            session.expect_reply(150)?;
            data.read_exact(&mut [0; 1000])?;
            abort(&mut session)?;
            session.expect_reply(426).context(how)?;
            session.expect_reply(226).context(how)?;
            let came = drain(data);
            ensure!(came < LEN - 1000, "{how}: all {came} bytes came");
            files::ensure_equal(how, &session.retrieve("file")?, &content)?;
        }
        // Without a transfer there is nothing to abort; a waiting pinhole is closed.
        session.passive()?;
        session.expect("ABOR", 226)?;
        site.until_no_pinhole()?;
        session.expect("RETR file", 425)?;
    }
    Ok(())
}

#[test]
fn abor_ends_an_upload_and_a_wait() -> Result<()> {
    need_root!();
    let site = Site::with_writer(Ok)?;
    for family in Family::BOTH {
        let mut session = site.writer(family)?;
        for (how, abort) in ABORTS {
            let hole = session.passive()?;
            session.send(b"STOR file\r\n")?;
            let mut data = session.data(hole)?;
            session.expect_reply(150)?;
            data.write_all(&[7; 10_000])?;
            abort(&mut session)?;
            session.expect_reply(426).context(how)?;
            session.expect_reply(226).context(how)?;
            let stored = fs::metadata(site.path("file"))?.len();
            ensure!(stored <= 10_000, "{how}: {stored} bytes were stored");

            // Before the client has connected at all.
            session.passive()?;
            session.send(b"RETR file\r\n")?;
            abort(&mut session)?;
            session.expect_reply(426).context(how)?;
            session.expect_reply(226).context(how)?;
            site.until_no_pinhole()?;
        }
    }
    Ok(())
}

/// ftplib's own abort, in the middle of a download, and a whole download after it.
#[test]
fn abor_by_ftplib() -> Result<()> {
    need_root!();
    const SCRIPT: &str = r#"
import ftplib, sys
ftp = ftplib.FTP(timeout=30)
ftp.set_debuglevel(1)
ftp.connect(sys.argv[1], 21)
ftp.login(sys.argv[2], sys.argv[3])
ftp.voidcmd("TYPE I")
data = ftp.transfercmd("RETR file")
got = len(data.recv(1000))
print("aborted", ftp.abort()[:3])
data.close()
print("then", ftp.voidresp()[:3])
whole = []
ftp.retrbinary("RETR file", whole.append)
print("whole", sum(map(len, whole)))
ftp.quit()
"#;
    let site = Site::with_writer(Ok)?;
    site.put("file", LEN)?;
    for family in Family::BOTH {
        let mut python = site.lab.client.command("python3");
        let host = site::control_address(family).ip().to_string();
        python.args(["-c", SCRIPT, &host, USER, PASSWORD]);
        let said = process::run(python, b"", wait::SOON)?
            .successful()?
            .transcript();
        for line in ["aborted 426", "then 226", &format!("whole {LEN}")] {
            ensure!(said.contains(line), "no {line:?} in:\n{said}");
        }
    }
    Ok(())
}

#[test]
fn rest_goes_on_where_a_transfer_broke() -> Result<()> {
    need_root!();
    let site = Site::with_writer(Ok)?;
    let content = site.put("file", 3_000_000)?;
    for family in Family::BOTH {
        let mut session = site.writer(family)?;
        for broke_at in [0, 1, 65_536, 2_999_999, 3_000_000] {
            session.expect(&format!("REST {broke_at}"), 350)?;
            let rest = session.retrieve("file")?;
            files::ensure_equal("the rest", &rest, &content[broke_at..])?;

            fs::write(site.path("half"), &content[..broke_at])?;
            session.expect(&format!("REST {broke_at}"), 350)?;
            session.store("STOR half", &content[broke_at..])?;
            files::ensure_same(&site.path("half"), &content)?;

            fs::write(site.path("half"), &content[..broke_at])?;
            session.store("APPE half", &content[broke_at..])?;
            files::ensure_same(&site.path("half"), &content)?;
        }
        // A resumed upload into the middle leaves what lies behind it.
        fs::write(site.path("half"), &content)?;
        session.expect("REST 1000", 350)?;
        session.store("STOR half", &content[1000..2000])?;
        let stored = fs::read(site.path("half"))?;
        ensure!(stored[..2000] == content[..2000]);
    }
    Ok(())
}

#[test]
fn listings_show_what_is_there() -> Result<()> {
    need_root!();
    let site = Site::new()?;
    let mut expected = BTreeSet::new();
    for n in 0..3000 {
        let name = format!("file number {n}");
        fs::write(site.path(&name), vec![0; n % 7])?;
        expected.insert(name);
    }
    fs::create_dir(site.path("folder"))?;
    expected.insert("folder".to_owned());
    for family in Family::BOTH {
        let mut session = site.anonymous(family, 0)?;
        let names = lines(session.listing("NLST")?)?;
        ensure!(names.iter().cloned().collect::<BTreeSet<_>>() == expected);
        ensure!(names.len() == expected.len(), "a name comes twice");

        let facts = lines(session.listing("MLSD")?)?;
        let machine: BTreeSet<_> = facts
            .iter()
            .filter(|line| line.contains("type=file;") || line.contains("type=dir;"))
            .filter_map(|line| line.split_once(' '))
            .map(|(_, name)| name.to_owned())
            .collect();
        ensure!(machine == expected, "MLSD shows other names than NLST");
        let sized = facts
            .iter()
            .find(|line| line.ends_with(" file number 6"))
            .context("no line for file number 6")?;
        ensure!(sized.to_ascii_lowercase().contains("size=6;"), "{sized}");

        let long = lines(session.listing("LIST")?)?;
        ensure!(long.len() == expected.len());
        for line in &long {
            // As `ls -l` shows it: clients parse nine columns.
            let columns: Vec<&str> = line.split_whitespace().collect();
            let (kind, size) = (line.chars().next(), columns.get(4));
            ensure!(
                matches!(kind, Some('-' | 'd'))
                    && size.is_some_and(|size| size.parse::<u64>().is_ok()),
                "{line}"
            );
        }
        ensure!(session.listing("NLST folder")?.is_empty());
    }
    Ok(())
}

fn lines(bytes: Vec<u8>) -> Result<Vec<String>> {
    let text = String::from_utf8(bytes)?;
    ensure!(text.ends_with("\r\n"), "the last line has no end");
    Ok(text.split_terminator("\r\n").map(str::to_owned).collect())
}

/// A client that asks for a transfer and goes away leaves nothing behind.
#[test]
fn a_client_that_goes_away_leaves_no_transfer() -> Result<()> {
    need_root!();
    let site = Site::new()?;
    site.put("file", LEN)?;
    let open_files = || -> Result<usize> {
        let folder = format!("/proc/{}/fd", site.daemon.pid());
        let links = fs::read_dir(folder)?.flatten();
        let served = site.path("file");
        Ok(links
            .filter(|link| fs::read_link(link.path()).is_ok_and(|target| target == served))
            .count())
    };
    for family in Family::BOTH {
        let mut sessions = Vec::new();
        for _ in 0..10 {
            let mut session = site.anonymous(family, 0)?;
            let hole = session.passive()?;
            session.send(b"RETR file\r\n")?;
            let data = session.data(hole)?;
            session.expect_reply(150)?;
            sessions.push((session, data));
        }
        if open_files()? != 10 {
            bail!("{} files are open for 10 transfers", open_files()?);
        }
        for (n, (session, data)) in sessions.into_iter().enumerate() {
            match n % 3 {
                0 => session.reset()?,
                1 => drop(data),
                _ => drop((session, data)),
            }
        }
        wait::poll_within(wait::SOON, "every file is closed", || {
            Ok((open_files()? == 0).then_some(()))
        })?;
    }
    Ok(())
}
